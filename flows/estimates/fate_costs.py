"""Work of following features, counted as in ``flows.estimates.stage_costs``."""

from ato.models.shapes import ModelShape
from flows.estimates.sizes import TEST, kept_tokens, sae_widths
from flows.estimates.stage_costs import PASSED, StageWork, model_bytes
from flows.settings import Settings

VARIANTS = 4
"""Passes of an ablated token: unedited and three directions."""
ACTIVE = 0.5
"""Share of the tokens asked for that are found: features are silent in many sequences."""
LINK_BYTES = 90
ABLATION_BYTES = 120


def fate_work(settings: Settings, shape: ModelShape) -> StageWork:
    """Products of all decoder rows, a pass over the test tokens for each pair with two SAEs, and single tokens run again."""
    s, d, widths = settings.fate, shape.d_model, sae_widths(settings)
    pairs = [pair for pair in settings.operators.pairs if pair[1] in widths]
    linked = [pair for pair in pairs if pair[0] in widths]
    products = sum(widths[source] * widths[target] for source, target in linked)
    encoded = sum(widths[source] + 3 * widths[target] for source, target in linked)
    sequences = s.n_sequences * settings.collect.seq_len
    again = s.n_sequences * s.n_features * s.n_tokens * ACTIVE * VARIANTS
    blocks = sum(shape.forward_flops(target - source) for source, target in pairs)
    clean = sum(shape.forward_flops(target + 1) for target in {target for _, target in pairs})
    cached = again * len(pairs) * settings.collect.seq_len * d
    largest = max(widths.values(), default=0)
    return StageWork(
        forward=sequences * clean + again * blocks,
        host_product=8 * d * products + TEST * kept_tokens(settings) * 2 * d * encoded,
        moved=PASSED * cached,
        memory_bytes=model_bytes(settings, shape) + len(linked) * 8 * largest * (5 * 64 + 2 * d),
        disk_bytes=int(
            sum(widths[source] + widths[target] for source, target in linked) * LINK_BYTES
            + len(pairs) * 3 * s.n_features * ABLATION_BYTES
        ),
    )
