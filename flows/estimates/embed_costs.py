"""Work of embedding, counted as in ``flows.estimates.stage_costs``."""

from ato.models.shapes import ModelShape
from flows.estimates.label_costs import labelled_features
from flows.estimates.sizes import sae_widths
from flows.estimates.stage_costs import StageWork
from flows.settings import Settings

EXAMPLE_SECONDS, SHORT_SECONDS = 0.02, 0.008
"""A window of text, and a description or some tokens, on one core."""
VECTOR_BYTES = 4 * 384
ENCODER_BYTES = 300_000_000
TOGETHER_BYTES = 10 * VECTOR_BYTES
"""Held of a text: its words, its vector and copies of it."""


def embed_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Tokens of every scored feature, windows of the selected and the labelled ones, descriptions of the latter."""
    s, scored = settings.embed, sum(sae_widths(settings).values())
    selected = scored * settings.features.top_percent / 100
    labelled = labelled_features(settings)
    examples = s.n_examples * (selected + labelled) if "example" in s.kinds else 0
    short = (scored if "tokens" in s.kinds else 0) + (labelled if "description" in s.kinds else 0)
    n = int(examples + short)
    return StageWork(
        seconds=examples * EXAMPLE_SECONDS + short * SHORT_SECONDS,
        memory_bytes=ENCODER_BYTES + n * TOGETHER_BYTES,
        disk_bytes=n * VECTOR_BYTES,
    )
