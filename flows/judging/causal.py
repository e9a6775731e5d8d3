"""Faults of the settings of stages ``evaluate`` and ``causal``."""

from collections.abc import Iterator

from ato.models.shapes import ModelShape
from ato.operators.methods import METHODS
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.settings import Settings


def judge_evaluate(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """SAEs that no operator leads to."""
    o, saes, ends = (
        settings.operators,
        _saes(settings, shape),
        sorted({target for _, target in _fitted(settings, shape)}),
    )
    idle = [layer for layer in saes if layer not in ends]
    if not idle or not ends:
        return
    reachable = {source + leap for source in o.source_layers for leap in o.leaps}
    missing = sorted({layer - source for layer in idle for source in o.source_layers if layer > source})
    if o.target_layers is not None and {*idle} <= reachable:
        works = f"set operators.target_layers={sorted({*o.target_layers, *idle})}"
    elif missing:
        works = f"add a leap, such as operators.leaps={sorted({*o.leaps, missing[0]})}"
    else:
        works = "add a source layer below"
    keep = [layer for layer in saes if layer in ends]
    why = f"no pair ends at {', '.join(map(str, idle))}, so their features cannot be scored"
    yield Fault("saes.layers", saes, why, f"{works}, or use SAEs at {keep or ends} only", stops=not keep)


def _saes(settings: Settings, shape: ModelShape | None) -> list[int]:
    """Layers of SAEs, those left out that the model does not have."""
    return [layer for layer in sae_layers(settings) if shape is None or layer < shape.n_layers]


def _fitted(settings: Settings, shape: ModelShape | None) -> list[tuple[int, int]]:
    """Pairs of operators within the model."""
    return [pair for pair in settings.operators.pairs if shape is None or max(pair) < shape.n_layers]


def judge_causal(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Site and policy, method, pairs, positions."""
    c, o = settings.causal, settings.operators
    if settings.collect.site != "resid_post":
        why = "only the residual stream can be replaced"
        yield Fault("collect.site", settings.collect.site, why, "use resid_post, or leave the flow causal out")
    if o.position_policy != "same":
        why = "only residuals of the same position can be put back"
        yield Fault("operators.position_policy", o.position_policy, why, "use same, or leave the flow causal out")
    if c.method not in o.methods:
        why = f"operators.methods has no {c.method}"
        yield Fault("causal.method", c.method, why, f"use one of {', '.join(o.methods)}, or add it there")
    yield from _pairs(settings, shape)
    yield from _positions(settings)


def _pairs(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    pairs, fitted, saes = settings.causal.pairs, _fitted(settings, shape), _saes(settings, shape)
    if not fitted or (sae_layers(settings) and not saes):
        return  # the layers themselves are wrong
    shown = "null" if pairs is None else [list(pair) for pair in pairs]
    if pairs is None:
        if not {target for _, target in fitted} & {*saes}:
            why = f"no layer pair ends at a layer with an SAE ({saes})"
            yield Fault("causal.pairs", shown, why, f"name some, such as {[list(fitted[0])]}")
        return
    if wrong := sorted(set(pairs) - set(fitted)):
        why = f"there are no operators for {', '.join(f'{s} -> {t}' for s, t in wrong)}"
        right = [list(pair) for pair in pairs if pair in fitted] or [list(fitted[0])]
        yield Fault("causal.pairs", shown, why, f"use {right}, or add to operators.source_layers and leaps")
    elif METHODS[settings.causal.method].for_features and (idle := [pair for pair in pairs if pair[1] not in saes]):
        why = f"{settings.causal.method} is fitted for pairs that end at an SAE ({saes}) only, not for {idle}"
        yield Fault("causal.method", settings.causal.method, why, "use ridge, or pairs that end there")


def _positions(settings: Settings) -> Iterator[Fault]:
    """An edit changes predictions behind it: there must be one."""
    last = settings.collect.seq_len - 2
    far = {
        text: max(map(int, text.split(",")))
        for text in settings.causal.positions
        if text != "all" and max(map(int, text.split(","))) > last
    }
    if far:
        listed = ", ".join(repr(text) for text in far)
        why = (
            f"nothing is predicted behind position {max(far.values())} in collect.seq_len={last + 2} tokens ({listed})"
        )
        works = f"use positions up to {last}, or collect.seq_len={max(far.values()) + 2}"
        yield Fault("causal.positions", settings.causal.positions, why, works)
