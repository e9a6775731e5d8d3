"""Faults of the settings of stages ``saes``, ``features`` and ``explain``."""

from collections.abc import Iterator
from pathlib import Path

from ato.errors import AtoError
from ato.models.shapes import ModelShape
from ato.neuronpedia.records import SourceId
from ato.saes.pretrained import split_release
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model, not_collected, sae_layers
from flows.settings import Settings


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Layers, files, and the training of those that are trained."""
    s = settings.saes
    named = {"saes.layers": s.layers, "saes.paths": s.paths, "saes.releases": s.releases}
    for setting, value in named.items():
        wrong = list(beyond_model(setting, value, value, shape))
        yield from wrong or not_collected(setting, value, value, settings, shape)
    if both := sorted({*s.paths} & {*s.releases}):
        yield Fault("saes.paths", s.paths, f"layers {both} have a release too", "leave one of the two out")
    for layer, path in s.paths.items():
        if not Path(path).expanduser().exists():
            yield Fault(f"saes.paths.{layer}", path, "there is no such file or folder", "check the path")
    for layer, release in s.releases.items():
        try:
            split_release(release)
        except AtoError as error:
            yield Fault(f"saes.releases.{layer}", release, error.what, error.cure or "write RELEASE:SAE_ID")
    if set(s.layers) - {*s.paths, *s.releases}:
        yield from _training(settings)


def _training(settings: Settings) -> Iterator[Fault]:
    s = settings.saes
    if s.k > s.d_sae:
        yield Fault("saes.k", s.k, f"the SAE has saes.d_sae={s.d_sae} features", f"use 1 to {s.d_sae}")
    if s.buffer_rows < 2 * s.batch_size:
        why = f"it must hold two batches of saes.batch_size={s.batch_size}"
        yield Fault("saes.buffer_rows", s.buffer_rows, why, f"use at least {2 * s.batch_size}")
    if s.n_tokens < s.batch_size:
        why = f"one step takes saes.batch_size={s.batch_size} tokens"
        yield Fault("saes.n_tokens", s.n_tokens, why, f"use at least {s.batch_size}, or a smaller saes.batch_size")


def judge_features(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Selection among candidates."""
    f = settings.features
    if not f.score:
        return
    if f.top_percent > f.candidate_percent:
        why = f"only the features.candidate_percent={f.candidate_percent:g} that are ablated have a score"
        yield Fault("features.top_percent", f.top_percent, why, f"use at most {f.candidate_percent:g}", stops=False)


def judge_explain(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Ids of Neuronpedia."""
    saes = sae_layers(settings)
    for layer, text in settings.explain.ids.items():
        try:
            SourceId.parse(text)
        except AtoError as error:
            yield Fault(f"explain.ids.{layer}", text, error.what, error.cure or "write model/source")
        if layer not in saes:
            why = f"layer {layer} has no SAE"
            works = f"name layers of {saes}" if saes else "leave it out"
            yield Fault("explain.ids", settings.explain.ids, why, works, stops=False)
