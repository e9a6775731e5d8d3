"""Stage ``entity_interventions``: the model answers again while the best latents, and random ones, are changed."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from ato.entities.orthogonal_weights import orthogonalised
from tasks.engine.model_cache import language_model
from tasks.engine.progress import Progress, say
from tasks.entities.asked import Asked, ask, kl_on_text, questions_by_label
from tasks.entities.changes import Changed, Condition, best_directions, controls
from tasks.entities.effects import effect_rows
from tasks.entities.stages import EntityStudy

ORTHOGONALISE = "orthogonalise"


def intervene(of: EntityStudy) -> None:
    """Steer, ablate and orthogonalise the best latent of each direction, with controls, unless it was done."""
    if of.interventions.skip():
        return
    with of.interventions as stage:
        best = best_directions(of)
        rows: list[dict[str, Any]] = []
        effects: list[dict[str, Any]] = []
        if best:
            for answers, found in _measured(of, best):
                rows += answers
                effects += found
        else:
            say("entities", "no ranked latent of knowing: nothing to change")
        facts = {"collection": of.study.collection, "intervening": stage.key}
        stage.write("entity_interventions", [facts | row for row in rows])
        stage.write("entity_intervention_effects", [facts | row for row in effects])
    for row in effects:
        if row["outcome"] in ("correct", "abstain") and row["change"] is not None:
            control = "" if row["control_mean"] is None else f"; random latents {row['control_mean']:+.2f}"
            say(
                "entities",
                f"{row['intervention']} {row['direction']} on {row['label']} entities: {row['outcome']} "
                f"{row['change']:+.2f} of {row['unedited']:.2f}{control}",
            )


def _measured(of: EntityStudy, best: Sequence[Changed]) -> Iterator[tuple[list[dict[str, Any]], list[dict[str, Any]]]]:
    """Rows of answers and of effects, for each set of edited positions."""
    settings = of.settings.interventions
    asked = questions_by_label(of, "test", settings.n_entities)
    if not asked:
        say("entities", "no known or unknown test entity can be asked again")
        return
    chosen = _with_strengths(of, best)
    conditions = [one for position in settings.positions for one in _conditions(of, chosen, position)]
    with Progress("entity interventions", len(conditions) + 1, "edits") as progress:
        unedited = ask(of, asked, [Condition()])
        progress.advance()
        found = list(unedited)
        for group in _by_layer(conditions):
            found += ask(of, asked, group, advance=lambda share, group=group: progress.advance(share * len(group)))  # type: ignore[misc]
        if settings.orthogonalise:
            for changed in chosen:
                found += _orthogonalised(of, asked, changed)
    kl = kl_on_text(of, [one for one in conditions if not one.is_control])
    answers = [row for one in found for row in one.rows]
    yield answers, effect_rows(of, found, kl)


def _conditions(of: EntityStudy, chosen: Sequence[Changed], position: str) -> Iterator[Condition]:
    """What is edited at these positions: the chosen latents, then their controls."""
    for changed in chosen:
        for kind in ("steer", "ablate"):
            yield Condition(kind, changed.direction, 0, changed, position)
            for draw, control in enumerate(controls(of, changed, "random_latent")):
                yield Condition(kind, changed.direction, draw, control, position, "random_latent")
        for draw, control in enumerate(controls(of, changed, "random_direction")):
            yield Condition("steer", changed.direction, draw, control, position, "random_direction")


def _by_layer(conditions: Sequence[Condition]) -> Iterable[list[Condition]]:
    """Conditions that share passes: they edit the same layer at the same positions."""
    groups: dict[tuple[int | None, str], list[Condition]] = {}
    for one in conditions:
        groups.setdefault((one.layer, one.position), []).append(one)
    return groups.values()


def _with_strengths(of: EntityStudy, best: Sequence[Changed]) -> list[Changed]:
    """The strength of each direction: on validation entities, the largest change of the self-report in its sense.

    Strengths that change ordinary text by more than the settings allow are left out; if all do, or nobody reports, the
    smallest is taken.
    """
    settings = of.settings.interventions
    position = settings.positions[0]
    asked = questions_by_label(of, "validation", settings.n_validation)
    strengths = sorted(settings.strengths)
    chosen = []
    for changed in best:
        tried = [replace(changed, strength=strength) for strength in strengths]
        conditions = [Condition("steer", one.direction, i, one, position) for i, one in enumerate(tried)]
        kl = kl_on_text(of, conditions)
        allowed = [i for i, one in enumerate(conditions) if kl[one].mean() <= settings.max_kl]
        found = ask(of, asked, [Condition(), *conditions], answer=False) if asked and allowed else []
        best_of = strengths[0]
        if found:
            sign = 1.0 if changed.direction == "known" else -1.0
            rise = {i: sign * _mean_rise(found[0], found[1 + i]) for i in allowed}
            reported = {i: value for i, value in rise.items() if np.isfinite(value)}
            if reported:
                best_of = strengths[max(reported, key=lambda i: reported[i])]
        say("entities", f"strength of {changed.direction}: {best_of:g} times the residual's norm")
        chosen.append(replace(changed, strength=best_of))
    return chosen


def _mean_rise(unedited: Asked, edited: Asked) -> float:
    changes = edited.self_report - unedited.self_report
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")


def _orthogonalised(of: EntityStudy, asked: Any, changed: Changed) -> list[Asked]:
    """Answers of the model whose weights do not write the direction."""
    condition = Condition(ORTHOGONALISE, changed.direction, 0, changed, "")
    with ExitStack() as stack:
        stack.enter_context(orthogonalised(language_model(of.study.model), changed.vector))
        return ask(of, asked, [replace(condition)])
