"""Layer pairs and their position policy: faults that collections and operators share."""

from collections.abc import Iterator

from ato.models.shapes import ModelShape
from ato.residuals.position_policies import parse_policy
from flows.judging.faults import Fault
from flows.judging.layers import beyond_model, not_collected
from flows.settings import Settings


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
            longest_leap = last - max(s for s in o.source_layers if s <= last)
            works = (
                f"use operators.leaps={ends or [longest_leap]}" if ends or longest_leap else "use lower source layers"
            )
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


def policy_faults(settings: Settings) -> Iterator[Fault]:
    """The position policy against attention and the length of sequences."""
    policy = parse_policy(settings.operators.position_policy)
    setting, value = "operators.position_policy", settings.operators.position_policy
    if policy.needs_attention and settings.model.attention != "eager":
        why = f"position policy {policy.name} needs attention weights"
        yield Fault("model.attention", settings.model.attention, why, "set model.attention=eager")
    most = reach(settings)
    if policy.offset > most:
        why = (
            f"no token has another one {policy.offset} positions before it (collect.seq_len={settings.collect.seq_len})"
        )
        yield Fault(setting, value, why, f"use at most offset:{most}" if most else "raise collect.seq_len")
    if policy.k > settings.collect.seq_len:
        why = f"a token attends to at most collect.seq_len={settings.collect.seq_len} positions"
        yield Fault(setting, value, why, f"use at most {policy.kind}:{settings.collect.seq_len}")


def reach(settings: Settings) -> int:
    """How far back a source token can lie within a sequence: position 0 may be left out."""
    return settings.collect.seq_len - 1 - settings.collect.skip_first
