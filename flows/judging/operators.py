"""Faults of the settings of stage ``operators``."""

from collections.abc import Iterator

from ato.models.shapes import ModelShape
from ato.operators.methods import METHODS
from flows.judging.faults import Fault
from flows.judging.layers import sae_layers
from flows.judging.pairs import pairs_faults
from flows.settings import Settings


def judge(settings: Settings, shape: ModelShape | None) -> Iterator[Fault]:
    """Layers and leaps, ranks, methods that need SAEs."""
    o = settings.operators
    yield from pairs_faults(settings, shape)
    ranked = [method for method in o.methods if "rank" in METHODS[method].parameters]
    if (
        shape is not None
        and ranked
        and settings.collect.site not in ("attn_z", "mlp_neurons")
        and o.rank > shape.d_model
    ):
        why = f"the model has {shape.d_model} dimensions ({', '.join(ranked)})"
        yield Fault("operators.rank", o.rank, why, f"use 1 to {shape.d_model}")
    if o.measured and settings.collect.site != "resid_post":
        why = f"Jacobians are between residual streams, the collection reads {settings.collect.site}"
        yield Fault("operators.methods", o.methods, why, "leave jacobian out, or use collect.site=resid_post")
    if o.measured and o.position_policy != "same":
        why = f"a Jacobian is of a token's own position, the policy is {o.position_policy}"
        yield Fault("operators.methods", o.methods, why, "leave jacobian out, or use operators.position_policy=same")
    chosen = [method for method in o.methods if METHODS[method].for_features]
    ends = sorted({target for _, target in o.pairs})
    if chosen and not set(ends) & set(sae_layers(settings)):
        why = f"{', '.join(chosen)} need an SAE at a layer that a pair ends at"
        yield Fault("operators.methods", o.methods, why, f"add one of {ends} to saes.layers, or leave them out")
    elif chosen and not settings.features.score:
        why = f"{', '.join(chosen)} need selected features"
        yield Fault("features.score", False, why, "set features.score=true, or leave the methods out")
