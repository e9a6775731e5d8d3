"""A decision by one score: threshold and calibration made on validation entities, and how good they are on test."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ato.entities.groups import FIRST, SECOND
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate, number_or_none, strata_interval, sure_limits
from ato.numerics.scales import SHARE

Criterion = Literal["youden", "f1"]
_PENALTY = 1e-3
"""Of the slope of the logistic fit, on standardised scores: it keeps classes that do not overlap from an infinite one."""


def choose_threshold(scores: np.ndarray, labels: np.ndarray, by: Criterion = "youden") -> float:
    """The threshold that is best on these entities, for the rule "first class where score >= threshold".

    ``youden`` is the largest share of the first class found minus the share of the second class taken for it
    (Youden, 1950); ``f1`` the largest F1 of the first class. Of equally good thresholds, all of which are scores that
    occur, the largest is taken.

    Args:
        scores: [n]; NaN is left out.
        labels: [n], 1, 0, or others, which are left out.
        by: the criterion.

    Returns:
        NaN where a class is empty.
    """
    scores, first = _both_classes(scores, labels)
    n_first, n_second = int(first.sum()), int((~first).sum())
    if not n_first or not n_second:
        return float("nan")
    levels, inverse = np.unique(-scores, return_inverse=True)  # falling
    found = np.cumsum(np.bincount(inverse.reshape(-1), first))
    mistaken = np.cumsum(np.bincount(inverse.reshape(-1), ~first))
    if by == "youden":
        # Over a common denominator these are whole numbers: equally good thresholds are exactly equal.
        quality = found * n_second - mistaken * n_first
    else:
        quality = 2 * found / (found + mistaken + n_first)
    return float(-levels[quality.argmax()])


@dataclass(frozen=True)
class Decisions:
    """What a threshold decides on some entities, the first class being what is to be found; None where undefined."""

    n: int
    accuracy: float | None
    precision: float | None
    """None where nothing is taken for the first class."""
    recall: float | None
    specificity: float | None
    youden: float | None
    f1: Estimate
    """With its interval from leaving out entities within class."""


def decide(scores: np.ndarray, labels: np.ndarray, threshold: float) -> Decisions:
    """Apply "first class where score >= threshold", the rule that ``choose_threshold`` chose for.

    Args:
        scores: [n]; NaN is left out.
        labels: [n], 1, 0, or others, which are left out.
        threshold: NaN gives no decision.
    """
    scores, first = _both_classes(scores, labels)
    if np.isnan(threshold):
        return Decisions(len(scores), None, None, None, None, None, Estimate(None))
    taken = scores >= threshold
    n_first, n_second = int(first.sum()), int((~first).sum())
    found, mistaken = int((taken & first).sum()), int((taken & ~first).sum())
    recall, specificity = _ratio(found, n_first), _ratio(n_second - mistaken, n_second)
    both = None not in (recall, specificity)
    return Decisions(
        len(scores),
        _ratio(found + n_second - mistaken, len(scores)),
        _ratio(found, found + mistaken),
        recall,
        specificity,
        (recall or 0.0) + (specificity or 0.0) - 1 if both else None,
        _f1_interval((found, n_first), (mistaken, n_second)),
    )


def _f1_interval(found: tuple[int, int], mistaken: tuple[int, int]) -> Estimate:
    """F1 from (taken, all) of each class; without one entity it has one of four values."""
    (a, n_first), (b, n_second) = found, mistaken
    if not n_first or not n_second:
        return Estimate(None)

    def f1(a: int, b: int, n_first: int) -> float:
        return 2 * a / max(a + b + n_first, 1)

    value, smaller = f1(a, b, n_first), min(n_first, n_second)
    if smaller < MIN_DOCUMENTS:
        return Estimate(value)
    if value in (0.0, 1.0):  # as for an AUROC of 0 or 1
        return Estimate(value, *sure_limits(value, smaller))
    first = np.repeat([f1(a - 1, b, n_first - 1), f1(a, b, n_first - 1)], [a, n_first - a])
    second = np.repeat([f1(a, b - 1, n_first), value], [b, n_second - b])
    return Estimate(value, *strata_interval(value, [first, second], SHARE))


@dataclass(frozen=True)
class Calibration:
    """p(first class) = 1 / (1 + exp(-(intercept + slope (score - centre) / scale)))."""

    centre: float
    scale: float
    slope: float
    intercept: float

    def __call__(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities [n] of the first class; NaN for a NaN score, or where there was nothing to fit."""
        logits = self.intercept + self.slope * (np.asarray(scores, dtype=np.float64) - self.centre) / self.scale
        return 1 / (1 + np.exp(-np.clip(logits, -700, 700)))


def fit_calibration(scores: np.ndarray, labels: np.ndarray) -> Calibration:
    """The logistic regression of the labels on one score, by Newton's method, with a penalty of 0.001 slope^2 / 2.

    Args:
        scores: [n] of validation entities; NaN is left out.
        labels: [n], 1, 0, or others, which are left out.

    Returns:
        A calibration that gives NaN where a class is empty; where the score does not vary, the share of the class.
    """
    scores, first = _both_classes(scores, labels)
    if not first.any() or first.all():
        return Calibration(0.0, 1.0, float("nan"), float("nan"))
    centre, scale = float(scores.mean()), float(scores.std())
    scale = scale if scale > 1e-12 * max(abs(centre), 1e-300) else 1.0
    x = np.stack([np.ones(len(scores)), (scores - centre) / scale], axis=1)
    penalty = np.array([0.0, _PENALTY])

    def loss(b: np.ndarray) -> float:
        return float(np.logaddexp(0, np.where(first, -1, 1) * (x @ b)).sum() + (penalty * b**2).sum() / 2)

    b = np.zeros(2)
    for _ in range(100):
        p = 1 / (1 + np.exp(-np.clip(x @ b, -700, 700)))
        gradient = x.T @ (p - first) + penalty * b
        hessian = (x * (p * (1 - p))[:, None]).T @ x + np.diag(penalty + 1e-12)
        step = np.linalg.solve(hessian, gradient)
        while loss(b - step) > loss(b) and np.abs(step).max() > 1e-12:
            step /= 2
        b = b - step
        if np.abs(step).max() < 1e-10:
            break
    return Calibration(centre, scale, float(b[1]), float(b[0]))


def brier(probabilities: np.ndarray, labels: np.ndarray) -> float:
    """Mean squared difference of probability and outcome (Brier, 1950); NaN without entities."""
    probabilities, first = _both_classes(probabilities, labels)
    return float(((probabilities - first) ** 2).mean()) if len(first) else float("nan")


def expected_calibration_error(probabilities: np.ndarray, labels: np.ndarray, n_bins: int = 10) -> float:
    """Mean over entities of |mean probability - share of the first class| in bins of equal width (Guo et al., 2017).

    NaN without entities; a probability of 1 belongs to the last bin.
    """
    probabilities, first = _both_classes(probabilities, labels)
    if not len(first):
        return float("nan")
    place = np.minimum((probabilities * n_bins).astype(np.int64), n_bins - 1)
    apart = np.bincount(place, probabilities, n_bins) - np.bincount(place, first, n_bins)
    return float(np.abs(apart).sum() / len(first))


def _both_classes(scores: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Scores of the entities that have one and belong to a class, and whether that is the first."""
    scores, labels = np.asarray(scores, dtype=np.float64), np.asarray(labels)
    kept = ~np.isnan(scores) & ((labels == FIRST) | (labels == SECOND))
    return scores[kept], labels[kept] == FIRST


def _ratio(part: int, whole: int) -> float | None:
    return number_or_none(part / whole) if whole else None
