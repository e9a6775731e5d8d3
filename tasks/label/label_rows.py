"""Rows of the tables of labelling, from what a judge said of features."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ato.autointerp.excerpts import FeatureEvidence
from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.labelling import LabelledFeature
from ato.autointerp.scores import Score
from ato.autointerp.trials import EMBEDDING, FUZZING, INTRUDER
from ato.features.excerpts import Excerpt

Rows = list[dict[str, Any]]
SPLITS = {"train": "train", "validation": "val", "test": "test"}
"""Splits in the words of labelling -> as the tables name them."""
MEASURES = {INTRUDER: "accuracy", EMBEDDING: "auroc"}
"""Scorer -> what its score is; of the others balanced_accuracy."""
ALL_TIERS, ACTIVE, NONE, SHUFFLED = "all", "active", "none", "shuffled"


class WindowNumbers:
    """The number in ``example_windows`` of each excerpt of some features: excerpts are told apart as objects.

    Args:
        numbered: feature -> its excerpts with their numbers; they are kept, so that no other object takes their place.
    """

    def __init__(self, numbered: Mapping[int, Sequence[tuple[Excerpt, int]]]):
        self._kept = numbered
        self._number = {id(excerpt): number for windows in numbered.values() for excerpt, number in windows}

    def of(self, excerpts: Iterable[Excerpt]) -> list[int]:
        """Numbers of excerpts that are these very objects; KeyError for others."""
        return [self._number[id(excerpt)] for excerpt in excerpts]


def label_rows(
    found: Sequence[LabelledFeature],
    evidence: Mapping[int, FeatureEvidence],
    numbers: WindowNumbers,
    space: LabelSpace | None,
) -> dict[str, Rows]:
    """Table -> rows without the keys that all rows of a labelling share.

    Args:
        found: what a judge said.
        evidence: feature -> what it was shown.
        numbers: of the windows.
        space: that features were put into; None without one.
    """
    tables: dict[str, Rows] = {
        "feature_descriptions": [row for one in found for row in _descriptions(one, evidence[one.feature_id])],
        "detection_trials": [row for one in found for row in _trials(one, numbers)],
        "description_scores": [_score(one.feature_id, score) for one in found for score in one.scores],
    }
    if space is not None:
        tables["feature_labels"] = [row for one in found for row in _classes(one, space)]
    return {table: rows for table, rows in tables.items() if rows}


def _descriptions(one: LabelledFeature, evidence: FeatureEvidence) -> Rows:
    return [
        {
            "feature_id": one.feature_id,
            "candidate": number,
            "description": candidate.text,
            "chosen": candidate.chosen,
            "validation_score": None if candidate.validation is None else candidate.validation.value.value,
            "origin": candidate.origin or "judge",
            "n_examples": 0 if candidate.origin else len(evidence.examples),
            "call": candidate.answer.call,
            "reason": None if candidate.text is not None else candidate.answer.reason or "no answer",
        }
        for number, candidate in enumerate(one.candidates)
    ]


def _trials(one: LabelledFeature, numbers: WindowNumbers) -> Rows:
    counts: dict[tuple[str, bool, int], int] = {}
    rows = []
    for candidate, result in one.results:
        trial = result.trial
        kind = (trial.scorer, result.control, candidate)
        counts[kind] = counts.get(kind, -1) + 1
        rows.append(
            {
                "feature_id": one.feature_id,
                "scorer": trial.scorer,
                "control": SHUFFLED if result.control else NONE,
                "candidate": candidate if trial.needs_description else -1,
                "trial": counts[kind],
                "tier": trial.tier or ACTIVE,
                "split": SPLITS[trial.split],
                "windows": numbers.of(trial.excerpts),
                "marked": sorted(trial.marked) if trial.scorer == FUZZING else None,
                "expected": int(trial.expected),
                "answered": None if result.answered is None else int(result.answered),
                "probability": result.probability,
                "call": result.call,
                "reason": result.reason,
            }
        )
    return rows


def _score(feature: int, score: Score) -> dict[str, Any]:
    value = score.value
    return {
        "feature_id": feature,
        "scorer": score.scorer,
        "tier": score.tier or ALL_TIERS,
        "control": SHUFFLED if score.control else NONE,
        "measure": MEASURES.get(score.scorer, "balanced_accuracy"),
        "n_positive": score.n_positive,
        "n_negative": score.n_negative,
        "n_unanswered": score.n_unanswered,
        "sensitivity": score.sensitivity,
        "specificity": score.specificity,
        "score": value.value,
        "score_low": value.low,
        "score_high": value.high,
        "chance": score.chance,
        "reason": score.reason,
    }


def _classes(one: LabelledFeature, space: LabelSpace) -> Rows:
    """A row for each property that applies, whether it was given a value or not."""
    answer = one.classes
    if answer is None:
        return []
    values, wrong = space.checked(answer.value)
    return [
        {
            "feature_id": one.feature_id,
            "space": space.name,
            "property": of.name,
            "value": values[of.name],
            "call": answer.call,
            "reason": None if values[of.name] is not None else answer.reason or wrong or "no answer",
        }
        for of in space.properties
        if of.applies(values)
    ]
