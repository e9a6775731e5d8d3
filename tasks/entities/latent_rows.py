"""Rows of one scored contrast: latents, baselines, classifiers, activations and transport."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from ato.entities.baselines import confounded
from ato.entities.nulls import max_statistic_p
from ato.io.hashing import digest_of
from ato.numerics.auroc import TypeAurocs
from ato.numerics.intervals import Estimate
from tasks.engine.columns import estimate_columns
from tasks.engine.progress import say
from tasks.engine.stage import Stage
from tasks.entities.classifiers import classifier_rows
from tasks.entities.judged import Judged, of_type
from tasks.entities.scored import FIRST, SECOND, ScoredContrast, ScoredSAE
from tasks.entities.transport import transport_rows
from warehouse.storage.parquet import null_where_nan

MISSING = Estimate(None)


def write_contrast(stage: Stage, scored: ScoredContrast) -> None:
    """Write all rows of a contrast; says what was found."""
    of = scored.contrast.of
    judged = Judged(scored)
    facts = {"collection": of.study.collection, "latent_scoring": stage.key, **scored.contrast.keys}
    name = f"{stage.key}-{digest_of(scored.contrast.keys.values())[:8]}"
    for one in scored.saes:
        columns = latent_columns(judged, one)
        n = len(columns["feature_id"])
        constants = {key: [value] * n for key, value in (facts | {"sae": one.row.sae, "layer": one.row.layer}).items()}
        stage.write("entity_latents", columns | constants, part=name, sae=one.row.sae)
    stage.write("entity_baselines", [facts | row for row in baseline_rows(judged)], part=name)
    stage.write("entity_activations", [facts | row for row in activation_rows(scored)], part=name)
    stage.write("entity_classifiers", [facts | row for row in classifier_rows(judged)], part=name)
    stage.write("entity_transport", [facts | row for row in transport_rows(scored)], part=name)
    _announce(judged)


def write_nothing(stage: Stage) -> None:
    """Write tables without rows, where no contrast has both classes."""
    for table in ("entity_baselines", "entity_activations", "entity_classifiers", "entity_transport"):
        stage.write(table, [])


def latent_columns(judged: Judged, one: ScoredSAE) -> dict[str, Any]:
    """Columns of ``entity_latents`` of one SAE: all latents for all types together, then for each type."""
    parts = [_columns_of_type(judged, one, number) for number in range(len(judged.types))]
    merged: dict[str, Any] = {name: [] for name in parts[0]}
    for part in parts:
        for name, values in part.items():
            merged[name] += list(values)
    return merged


def _columns_of_type(judged: Judged, one: ScoredSAE, number: int) -> dict[str, Any]:
    d, scores = one.sae.d_sae, one.scores
    train, test = scores.scores("train"), scores.scores("test")
    first_train, second_train = _shares(one, "train", number)
    first_test, second_test = _shares(one, "test", number)
    if number == 0:
        lowest, highest = train.separation_min, train.separation_max
        with np.errstate(invalid="ignore"):
            separation = np.where(lowest > 0, lowest, np.where(highest < 0, highest, lowest * 0))
        test_separation = test.separation_mean
        single = len(train.n_first) == 1
        relative, difference, welch = (
            x[0] if single else np.full(d, np.nan)
            for x in (train.relative_difference, train.mean_difference, train.welch_t)
        )
        p_max = max_statistic_p(train.strength, judged.scored.null.over_types)
    else:
        separation, test_separation = train.separation[number - 1], test.separation[number - 1]
        relative, difference = train.relative_difference[number - 1], train.mean_difference[number - 1]
        welch = train.welch_t[number - 1]
        p_max = max_statistic_p(np.abs(separation), judged.scored.null.by_type[number - 1])
    first, second = judged.groups.contrast
    by_test = _by_test(judged, one, number)
    limit = judged.contrast.of.settings.latents.max_general_rate
    passes = [None if np.isnan(rate) else bool(rate < limit) for rate in one.general_rate]
    columns = {
        "entity_type": [judged.types[number]] * d,
        "feature_id": list(range(d)),
        "n_positive_train": [first_train[1]] * d,
        "n_negative_train": [second_train[1]] * d,
        "f_positive_train": _null(first_train[0]),
        "f_negative_train": _null(second_train[0]),
        "separation": _null(separation),
        "relative": _null(relative),
        "mean_difference": _null(difference),
        "welch_t": _null(welch),
        "direction": [first if up else second for up in (train.direction >= 0)],
        "general_rate": _null(one.general_rate),
        "passes_filter": passes,
        "p_max": _null(p_max),
        "q": _null(judged.q(number)[one.row.sae]),
        "n_positive": [first_test[1]] * d,
        "n_negative": [second_test[1]] * d,
        "f_positive": _null(first_test[0]),
        "f_negative": _null(second_test[0]),
        "test_separation": _null(test_separation),
    }
    for name in ("test_separation_low", "test_separation_high", *_ends("auroc"), *_ends("auroc_cross_type")):
        columns[name] = [by_test.get(i, {}).get(name) for i in range(d)]
    for name in ("rank", "beats_baselines"):
        columns[name] = [by_test.get(i, {}).get(name) for i in range(d)]
    return columns


def _ends(name: str) -> tuple[str, str, str]:
    return name, f"{name}_low", f"{name}_high"


def _null(values: np.ndarray) -> list[float | None]:
    return null_where_nan(values).to_pylist()


def _shares(one: ScoredSAE, split: str, number: int) -> tuple[tuple[np.ndarray, int], tuple[np.ndarray, int]]:
    """Share of active entities [d_sae] and number of entities, of the first class and of the second."""
    active, n = one.scores.n_active(split), one.scores.n_entities(split)
    if number == 0:
        active, n = active.sum(1), n.sum(1)
    else:
        active, n = active[:, number - 1], n[:, number - 1]
    return tuple((active[label] / (n[label] or np.nan), int(n[label])) for label in (1, 0))  # type: ignore[return-value]


def _by_test(judged: Judged, one: ScoredSAE, number: int) -> dict[int, dict[str, Any]]:
    """Latent -> what test entities say of it, for the ranked latents of one SAE."""
    found: dict[int, dict[str, Any]] = {}
    for ranked, auroc, active in zip(judged.scored.ranked, judged.aurocs, judged.separations, strict=True):
        if ranked.scored is not one:
            continue
        separation = of_type(active, number)  # the AUROC of "is active" is (1 + separation) / 2
        limits = {
            f"test_separation_{end}": None if limit is None else 2 * limit - 1
            for end, limit in (("low", separation.low), ("high", separation.high))
        }
        chosen = of_type(judged.cross_type[ranked.direction], number) if ranked.rank == 1 else MISSING
        found[ranked.latent] = (
            limits
            | estimate_columns(auroc=of_type(auroc, number), auroc_cross_type=chosen)
            | {"rank": ranked.rank, "beats_baselines": judged.beats(ranked) if number == 0 else None}
        )
    return found


def baseline_rows(judged: Judged) -> Iterator[dict[str, Any]]:
    """Rows of ``entity_baselines``."""
    first, second = judged.groups.contrast
    matched = judged.contrast.of.settings.latents.match_tokens
    for number, kind in enumerate(judged.types):
        about = {"entity_type": kind, "matched": matched}
        for baseline in judged.baselines:
            auroc = of_type(baseline.auroc, number)
            yield (
                about
                | _counts(baseline.auroc, number)
                | estimate_columns(auroc=auroc)
                | {
                    "baseline": baseline.name,
                    "layer": None,
                    "direction": second if baseline.orientation < 0 else first,
                    "confounded": baseline.name == "n_tokens" and confounded(auroc.value, judged.limit),
                }
            )
        for layer, aurocs in judged.probe_aurocs.items():
            yield (
                about
                | _counts(aurocs, number)
                | estimate_columns(auroc=of_type(aurocs, number))
                | {
                    "baseline": "probe",
                    "layer": layer,
                    "direction": first,
                    "confounded": False,
                }
            )


def _counts(aurocs: TypeAurocs, number: int) -> dict[str, int]:
    part = slice(None) if number == 0 else slice(number - 1, number)
    return {"n_positive": int(aurocs.n_first[part].sum()), "n_negative": int(aurocs.n_second[part].sum())}


def activation_rows(scored: ScoredContrast) -> Iterator[dict[str, Any]]:
    """Rows of ``entity_activations``: where a ranked latent is active."""
    seen: set[tuple[str, int]] = set()
    for one in scored.ranked:
        if (one.scored.row.sae, one.latent) in seen:
            continue
        seen.add((one.scored.row.sae, one.latent))
        for i in np.flatnonzero(one.activations > 0):
            yield {
                "sae": one.scored.row.sae,
                "feature_id": one.latent,
                "entity_id": scored.contrast.rows[i]["entity_id"],
                "activation": float(one.activations[i]),
            }


def _announce(judged: Judged) -> None:
    """A line for each direction: its best latent, and what it must beat."""
    contrast = judged.contrast
    if confounded(judged.length_auroc, judged.limit):
        say(
            "entities",
            f"{contrast}: token count alone reaches AUROC {judged.length_auroc:.2f}: classes differ by length",
        )
    for direction, name in ((FIRST, contrast.groups.contrast[0]), (SECOND, contrast.groups.contrast[1])):
        one = judged.scored.best(direction)
        if one is None:
            say("entities", f"{contrast}: no latent fires more for {name} and is silent on ordinary text")
            continue
        auroc = judged.aurocs[judged.scored.ranked.index(one)].mean
        q = judged.q(0)[one.scored.row.sae][one.latent]
        interval = "" if auroc.low is None else f" [{auroc.low:.2f}, {auroc.high:.2f}]"
        best = judged.best_baseline
        against = "" if best is None else f"; {best[0]} {best[2]:.2f}"
        found = "none" if auroc.value is None else f"{auroc.value:.2f}{interval}"
        say(
            "entities",
            f"{contrast}: best latent of {name} is {one.latent} of layer {one.scored.row.layer}, test AUROC {found}, "
            f"q {q:.2g}{against}",
        )
