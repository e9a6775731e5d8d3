"""Faults of the settings of stage ``graphs``."""

from collections.abc import Iterator
from pathlib import Path

from ato.models.shapes import ModelShape
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.settings import Settings

SITE = "resid_post"


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Prompts, targets, layers, operators and what the nodes are."""
    yield from _prompts(settings)
    yield from _layers(settings)
    s = settings.graphs
    if not (s.transcoders or s.adapter) and settings.collect.site != SITE:
        why = f"graphs of SAEs are between sites of the residual stream, the collection reads {settings.collect.site}"
        yield Fault("collect.site", settings.collect.site, why, f"use {SITE}")
    if s.adapter and (s.transcoders or s.layers is not None):
        given = "transcoders" if s.transcoders else "layers"
        why = "the graph of an adapter has all of its layers, and no other features"
        yield Fault(f"graphs.{given}", getattr(s, given), why, f"leave out {given} or adapter")
    if (s.transcoders or s.adapter) and "attribution" not in s.kinds:
        why = "transcoders have no transport graph: operators are between sites of the residual stream"
        yield Fault("graphs.kinds", s.kinds, why, "use attribution")


def _prompts(settings: Settings) -> Iterator[Fault]:
    s = settings.graphs
    if not s.prompts and s.prompts_from is None:
        yield Fault("graphs.prompts", [], "there is no prompt", "give one, or set graphs.prompts_from")
    if s.prompts_from is not None and not Path(s.prompts_from).expanduser().exists():
        yield Fault("graphs.prompts_from", s.prompts_from, "there is no such file or folder", "check the path")
    for prompt in s.prompts:
        if not prompt.text.strip():
            yield Fault("graphs.prompts", prompt.text, "a prompt is empty", "write some text")
        if prompt.against is not None and len(prompt.targets) != 1:
            why = f"{len(prompt.targets)} targets are against {prompt.against!r}"
            yield Fault("graphs.prompts", prompt.text, why, "name one target")
        elif prompt.against is not None and prompt.against in prompt.targets:
            why = f"the logit of {prompt.against!r} less itself is 0"
            yield Fault("graphs.prompts", prompt.text, why, "name two tokens")


def _layers(settings: Settings) -> Iterator[Fault]:
    s, having = settings.graphs, sae_layers(settings)
    if s.transcoders or s.adapter:
        return
    if missing := sorted(set(s.layers or []) - set(having)):
        why = f"layers {', '.join(map(str, missing))} have no SAE"
        yield Fault("graphs.layers", s.layers, why, f"use layers of {having}" if having else "name some in saes.layers")
        return
    chosen = [layer for layer in having if s.layers is None or layer in s.layers]
    if not chosen:
        works = f"use layers of {having}" if having else "name some in saes.layers"
        yield Fault("graphs.layers", s.layers, "no layer has an SAE", works)
    if s.kinds == ["transport"] and not _carried(settings, chosen):  # beside attribution it is left out, and said
        why = f"no operator of operators.source_layers and leaps is between two of the layers {chosen}"
        yield Fault("graphs.kinds", s.kinds, why, "use attribution, or add such a pair")


def _carried(settings: Settings, layers: list[int]) -> bool:
    """Whether a ridge operator of the same position is between two of the layers."""
    o = settings.operators
    usable = o.position_policy == "same" and "ridge" in o.methods
    return usable and any({source, target} <= set(layers) for source, target in o.pairs)
