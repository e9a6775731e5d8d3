"""Faults of the settings of stage ``operators``."""

from collections.abc import Iterator

from ato.models.shapes import ModelShape
from ato.operators.methods import METHODS
from flows.judging.collect import policy_faults
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model, not_collected, sae_layers
from flows.settings import Settings


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Layers and leaps, ranks, methods that need SAEs."""
    o = settings.operators
    yield from pairs_faults(settings, shape)
    ranked = [method for method in o.methods if "rank" in METHODS[method].parameters]
    if shape is not None and ranked and settings.collect.site != "attn_z" and o.rank > shape.d_model:
        why = f"the model has {shape.d_model} dimensions ({', '.join(ranked)})"
        yield Fault("operators.rank", o.rank, why, f"use 1 to {shape.d_model}")
    chosen = [method for method in o.methods if METHODS[method].for_features]
    ends = sorted({target for _, target in o.pairs})
    if chosen and not set(ends) & set(sae_layers(settings)):
        why = f"{', '.join(chosen)} need an SAE at a layer that a pair ends at"
        yield Fault("operators.methods", o.methods, why, f"add one of {ends} to saes.layers, or leave them out")
    elif chosen and not settings.features.score:
        why = f"{', '.join(chosen)} need selected features"
        yield Fault("features.score", False, why, "set features.score=true, or leave the methods out")


def pairs_faults(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Sources, leaps and targets against the model, the collection and each other, and the position policy."""
    o = settings.operators
    yield from beyond_model("operators.source_layers", o.source_layers, o.source_layers, shape)
    if shape is not None:
        last = shape.n_layers - 1
        too_far = [(s, t) for s, t in o.pairs if s <= last < t]
        if too_far:
            source, target = too_far[0]
            why = f"{source} + {target - source} is behind the last layer, {last}"
            ends = [leap for leap in o.leaps if all(s + leap <= last for s in o.source_layers)]
            room = last - max(s for s in o.source_layers if s <= last)
            works = f"use operators.leaps={ends or [room]}" if ends or room else "use lower source layers"
            reached = sorted({t for _, t in o.pairs if t <= last})
            kept = f", or operators.target_layers={reached}" if reached else ""
            yield Fault("operators.leaps", o.leaps, why, f"{works}{kept}")
    if unmet := sorted(set(o.target_layers or ()) - {target for _, target in o.pairs}):
        why = f"no source layer plus leap ends at {', '.join(map(str, unmet))}"
        met = sorted({target for _, target in o.pairs})
        yield Fault("operators.target_layers", o.target_layers, why, f"use {met}, or add sources or leaps")
    if not any(True for _ in beyond_model("", None, o.layers, shape)):
        yield from not_collected("operators.source_layers", o.source_layers, o.layers, settings, shape)
    yield from policy_faults(settings)
