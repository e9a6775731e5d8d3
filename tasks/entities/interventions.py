"""Stage ``entity_interventions``: the model answers again while the best latents, and random ones, are changed."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ato.entities.orthogonal_weights import orthogonalised
from tasks.engine.model_cache import language_model
from tasks.engine.progress import Progress, say
from tasks.entities.asked import Asked, ask, kl_on_text, questions_by_label
from tasks.entities.changes import ORTHOGONALISE, Changed, Condition, best_directions, controls
from tasks.entities.effects import effect_rows
from tasks.entities.stages import EntityStudy


def intervene(of: EntityStudy) -> None:
    """Steer, ablate and orthogonalise the best latent of each direction, with controls, unless it was done."""
    if of.interventions.skip():
        return
    with of.interventions as stage:
        best = best_directions(of)
        rows: list[dict[str, Any]] = []
        effects: list[dict[str, Any]] = []
        if best:
            rows, effects = _measured(of, best)
        else:
            say("entities", "no ranked latent of knowing: nothing to change")
        facts = {"collection": of.study.collection, "intervening": stage.key}
        stage.write("entity_interventions", [facts | row for row in rows])
        stage.write("entity_intervention_effects", [facts | row for row in effects])
    _announce(effects)


def _announce(effects: Sequence[dict[str, Any]]) -> None:
    """A line an intervention: what becomes of right answers, beside what random latents do."""
    right = [row for row in effects if row["outcome"] == "correct" and row["change"] is not None]
    edits: dict[tuple[str, ...], list[str]] = {}
    for row in right:
        control = "" if row["control_mean"] is None else f" (random latents {row['control_mean']:+.2f})"
        change = f"of {row['label']} entities {row['unedited']:.2f}{row['change']:+.2f}{control}"
        edits.setdefault((row["intervention"], row["direction"], row["position"]), []).append(change)
    for (intervention, direction, position), changes in edits.items():
        at = f" at {position}" if position else ""
        say("entities", f"{intervention} {direction}{at}: right answers {', '.join(changes)}")


def _measured(of: EntityStudy, best: Sequence[Changed]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Rows of answers and of effects; none where nobody can be asked."""
    settings = of.settings.interventions
    asked = questions_by_label(of, "test", settings.n_entities)
    if not asked:
        say("entities", "no known or unknown test entity can be asked again")
        return [], []
    chosen = _with_strengths(of, best)
    conditions = [one for position in settings.positions for one in _conditions(of, chosen, position)]
    weights = [one for changed in chosen for one in _of_weights(of, changed)] if settings.orthogonalise else []
    with Progress("entity interventions", len(conditions) + len(weights) + 1, "edits") as progress:
        unedited = ask(of, asked, [Condition()])
        progress.advance()
        found = list(unedited)
        for group in _by_layer(conditions):
            found += ask(of, asked, group, advance=lambda share, group=group: progress.advance(share * len(group)))  # type: ignore[misc]
        for one in weights:
            assert one.changed is not None
            with orthogonalised(language_model(of.study.model), one.changed.vector):
                found += ask(of, asked, [one])
            progress.advance()
    kl = kl_on_text(of, [one for one in (*conditions, *weights) if not one.is_control], "test")
    return [row for one in found for row in one.rows], effect_rows(of, found, kl)


def _conditions(of: EntityStudy, chosen: Sequence[Changed], position: str) -> Iterator[Condition]:
    """What is edited at these positions: the chosen latents, then their controls."""
    for changed in chosen:
        for kind in ("steer", "ablate"):
            yield Condition(kind, changed.direction, 0, changed, position)
            for draw, control in enumerate(controls(of, changed, "random_latent")):
                yield Condition(kind, changed.direction, draw, control, position, "random_latent")
        for draw, control in enumerate(controls(of, changed, "random_direction")):
            yield Condition("steer", changed.direction, draw, control, position, "random_direction")


def _of_weights(of: EntityStudy, changed: Changed) -> Iterator[Condition]:
    """The chosen latent and its controls, each taken out of all weights that write to the residual stream."""
    yield Condition(ORTHOGONALISE, changed.direction, 0, changed, "")
    for draw, control in enumerate(controls(of, changed, "random_latent")):
        yield Condition(ORTHOGONALISE, changed.direction, draw, control, "", "random_latent")


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
        kl = kl_on_text(of, conditions, "val")
        allowed = [i for i, one in enumerate(conditions) if kl[one].mean() <= settings.max_kl]
        found = ask(of, asked, [Condition(), *conditions], answer=False) if asked and allowed else []
        best_of = strengths[0]
        if found:
            sign = 1.0 if changed.direction == "known" else -1.0
            rise = {i: sign * _mean_rise(found[0], found[1 + i]) for i in allowed}
            reported = {i: value for i, value in rise.items() if np.isfinite(value)}
            if reported:
                best_of = strengths[max(reported, key=lambda i: reported[i])]
        costs = float(kl[conditions[strengths.index(best_of)]].mean())
        least = "" if allowed else ", the smallest: all change it by more than is allowed"
        say(
            "entities",
            f"strength of {changed.direction}: {best_of:g} times the residual's norm, {costs:.2g} nats of KL on "
            f"ordinary text{least}",
        )
        chosen.append(replace(changed, strength=best_of))
    return chosen


def _mean_rise(unedited: Asked, edited: Asked) -> float:
    changes = edited.self_report - unedited.self_report
    return float(np.nanmean(changes)) if np.isfinite(changes).any() else float("nan")
