"""Rows of ``entity_classifiers``: telling right from wrong answers by the best latent, a probe, or the model's confidence."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.entities.thresholds import brier, choose_threshold, decide, expected_calibration_error, fit_calibration
from ato.numerics.auroc import auroc_by_type
from ato.numerics.intervals import number_or_none
from tasks.engine.columns import estimate_columns
from tasks.entities.judged import ALL, Judged
from tasks.entities.scored import FIRST, SECOND


@dataclass(frozen=True)
class Classifier:
    """One number by which the first class is predicted."""

    score: str
    values: np.ndarray
    """[n], larger for the first class as far as train tells."""
    sae: str | None = None
    feature_id: int | None = None
    layer: int | None = None


def classifiers(judged: Judged) -> Iterator[Classifier]:
    """The latent with the larger separation on train of the two best, the probe that is best on validation, confidence."""
    best = [one for one in (judged.scored.best(FIRST), judged.scored.best(SECOND)) if one is not None]
    if best:
        one = max(best, key=lambda one: float(one.scored.scores.scores("train").strength[one.latent]))
        yield Classifier("latent", one.signed, one.scored.row.sae, one.latent, one.scored.row.layer)
    groups, validation = judged.groups, judged.groups.members("validation")
    by_layer = {
        layer: auroc_by_type(
            probe.scores[validation],
            groups.label[validation],
            groups.entity_type[validation],
            groups.n_types,
        ).mean.value
        for layer, probe in judged.probes.items()
    }
    usable = {layer: value for layer, value in by_layer.items() if value is not None}
    if usable:
        layer = max(usable, key=lambda layer: usable[layer])
        yield Classifier("probe", judged.probes[layer].scores, layer=layer)
    confidence = next(b for b in judged.baselines if b.name == "confidence")
    yield Classifier("confidence", judged.contrast.numbers["confidence"] * (confidence.orientation or np.nan))


def classifier_rows(judged: Judged) -> Iterator[dict[str, Any]]:
    """Rows for all types together and for each: the threshold is one, chosen on validation entities of all types."""
    groups = judged.groups
    validation = groups.members("validation")
    for one in classifiers(judged):
        threshold = choose_threshold(one.values[validation], groups.label[validation], "f1")
        calibration = fit_calibration(one.values[validation], groups.label[validation])
        for number, kind in enumerate(judged.types):
            test = groups.members("test") & ((number == 0) | (groups.entity_type == number - 1))
            values, labels = one.values[test], groups.label[test]
            aurocs = auroc_by_type(values, labels, groups.entity_type[test], groups.n_types)
            decisions = decide(values, labels, threshold)
            probabilities = calibration(values)
            yield {
                "entity_type": kind if number else ALL,
                "score": one.score,
                "sae": one.sae,
                "feature_id": one.feature_id,
                "layer": one.layer,
                "threshold": number_or_none(threshold),
                "n_positive": int(aurocs.n_first.sum()),
                "n_negative": int(aurocs.n_second.sum()),
                **estimate_columns(auroc=aurocs.mean),
                "precision": decisions.precision,
                "recall": decisions.recall,
                "f1": decisions.f1.value,
                "brier": number_or_none(brier(probabilities, labels)),
                "calibration_error": number_or_none(expected_calibration_error(probabilities, labels)),
            }
