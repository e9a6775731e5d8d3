"""Rows of ``entity_intervention_effects``: paired changes with intervals by entity, beside those of random draws."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from ato.entities.paired import control_p, mean_change
from ato.numerics.intervals import number_or_none
from tasks.engine.columns import estimate_columns
from tasks.entities.asked import Asked
from tasks.entities.changes import Condition
from tasks.entities.stages import EntityStudy

GRADES = ("correct", "wrong", "abstain")
TEXT = "text"
"""In place of a label: ordinary text."""


def effect_rows(of: EntityStudy, found: Sequence[Asked], kl: Mapping[Condition, np.ndarray]) -> list[dict[str, Any]]:
    """One row for each class, intervention, direction, set of positions and outcome."""
    unedited = next(one for one in found if one.condition.kind == "none")
    rows: list[dict[str, Any]] = []
    for one in found:
        if one.condition.kind == "none" or one.condition.is_control:
            continue
        draws = [other for other in found if _stands_in(other.condition, one.condition)]
        for label in ("known", "unknown"):
            own = np.array([other == label for other in one.labels])
            if own.any():
                rows += _rows(label, own, (unedited, one, draws))
    for condition, values in kl.items():
        rows.append(
            _keys(condition)
            | {"label": TEXT, "outcome": "kl", "n_entities": len(values), "unedited": 0.0}
            | estimate_columns(change=mean_change(values))
            | _controls(None, [])
        )
    return rows


def _stands_in(control: Condition, condition: Condition) -> bool:
    return control.control == "random_latent" and (
        (control.kind, control.direction, control.position) == (condition.kind, condition.direction, condition.position)
    )


def _keys(condition: Condition) -> dict[str, Any]:
    columns = condition.columns
    return {name: columns[name] for name in ("intervention", "direction", "position", "strength")}


def _rows(label: str, own: np.ndarray, asked: tuple[Asked, Asked, Sequence[Asked]]) -> Iterator[dict[str, Any]]:
    unedited, edited, draws = asked
    for outcome, values in _outcomes().items():
        before, after = values(unedited)[own], values(edited)[own]
        both = np.isfinite(before) & np.isfinite(after)
        change = mean_change((after - before)[both])
        others = [_mean(values(draw)[own] - before) for draw in draws]
        yield (
            _keys(edited.condition)
            | {"label": label, "outcome": outcome, "n_entities": int(both.sum())}
            | {"unedited": number_or_none(_mean(before[both]))}
            | estimate_columns(change=change)
            | _controls(change.value, [value for value in others if np.isfinite(value)])
        )


def _outcomes() -> dict[str, Callable[[Asked], np.ndarray]]:
    """Outcome -> [n] values of all entities."""

    def share(grade: str) -> Callable[[Asked], np.ndarray]:
        return lambda one: np.array([float(g == grade) for g in one.grades or ["" for _ in one.labels]])

    return {grade: share(grade) for grade in GRADES} | {
        "self_report": lambda one: one.self_report,
        "attention": lambda one: one.attention,
    }


def _mean(values: np.ndarray) -> float:
    finite = values[np.isfinite(values)]
    return float(finite.mean()) if len(finite) else float("nan")


def _controls(change: float | None, others: Sequence[float]) -> dict[str, Any]:
    values = np.array(others, dtype=np.float64)
    return {
        "n_draws": len(values),
        "control_mean": float(values.mean()) if len(values) else None,
        "control_sd": float(values.std(ddof=1)) if len(values) > 1 else None,
        "p_control": None if change is None else number_or_none(control_p(change, values)),
    }
