"""Faults of the settings of stage ``fate``."""

from collections.abc import Iterator

from ato.models.shapes import ModelShape
from ato.operators.methods import METHODS
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.settings import Settings


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Site and policy, method, and pairs that end at an SAE."""
    s, o = settings.fate, settings.operators
    if settings.collect.site != "resid_post":
        why = "only features of the residual stream are followed"
        yield Fault("collect.site", settings.collect.site, why, "use resid_post")
    if o.position_policy != "same":
        why = "an operator from another position predicts no change at the same one"
        yield Fault("operators.position_policy", o.position_policy, why, "use same")
    if s.method not in o.methods:
        why = f"operators.methods has no {s.method}"
        yield Fault("fate.method", s.method, why, f"use one of {', '.join(o.methods)}, or add it there")
    elif METHODS[s.method].for_features:
        yield Fault("fate.method", s.method, "it is fitted for the selected features alone", "use ridge")
    having = sae_layers(settings)
    if not {target for _, target in o.pairs} & {*having}:
        why = f"no layer pair ends at a layer with an SAE ({having})"
        yield Fault("operators.leaps", o.leaps, why, "add source layers or leaps that end there")
