"""Coverage and width of 95 % intervals of AUROC by entity: ours against the normal one of DeLong.

Scores of both classes are normal and a shift apart, as they are or as those of a feature that is silent below 0.5 (most
entities are then ties). The second table of ``docs/statistics.md`` is what this prints.
"""

import sys
from collections.abc import Iterator

import numpy as np
from scipy.integrate import quad
from scipy.stats import norm

from ato.entities.groups import FIRST, SECOND
from ato.numerics.auroc import auroc, auroc_interval
from ato.numerics.intervals import Estimate
from benchmarks.coverage import coverage
from benchmarks.measurement import Measurement, plain, rate
from benchmarks.program import run

SHIFTS = {"normal scores": {0.5: 0.0, 0.7: 0.742, 0.9: 1.812, 0.98: 2.904}, "a feature": {0.7: 0.974, 0.9: 2.036}}
"""Kind of score -> AUROC, about -> how far apart the classes are."""
SILENT_BELOW = {"normal scores": -np.inf, "a feature": 0.5}
CLASSES = ((5, 5), (10, 10), (10, 100), (20, 20), (50, 50), (200, 200))
"""Entities of the first and of the second class."""


def drawn(kind: str, shift: float, sizes: tuple[int, int], studies: int) -> tuple[np.ndarray, np.ndarray]:
    """Scores [studies, entities] and labels [entities]."""
    rng, labels = np.random.default_rng([0, *sizes]), np.repeat([FIRST, SECOND], sizes)
    scores = rng.standard_normal((studies, len(labels))) + shift * (labels == FIRST)
    return np.maximum(scores, SILENT_BELOW[kind]), labels


def truth(shift: float, threshold: float) -> float:
    """AUROC of max(z + shift, threshold) over max(z, threshold), ties half."""
    above = quad(lambda x: norm.pdf(x - shift) * norm.cdf(x), threshold, np.inf)[0]
    return float(above + norm.cdf(threshold - shift) * norm.cdf(threshold) / 2)


def delong(scores: np.ndarray, labels: np.ndarray) -> Estimate:
    """Estimate +- 1.96 standard errors of DeLong et al. (1988)."""
    first, second = scores[labels == FIRST], scores[labels == SECOND]
    won = (first[:, None] > second) + (first[:, None] == second) / 2
    error = np.sqrt(won.mean(1).var(ddof=1) / len(first) + won.mean(0).var(ddof=1) / len(second))
    value = auroc(scores, labels)
    return Estimate(value, value - norm.ppf(0.975) * error, value + norm.ppf(0.975) * error)


def limits(found: list[Estimate]) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper limits, NaN where none is given."""
    both = np.array([(estimate.low, estimate.high) for estimate in found], dtype=np.float64)
    return both[:, 0], both[:, 1]


def measure(quick: bool) -> Iterator[Measurement]:
    """Coverage and width of both intervals for each kind of score and size of the classes."""
    for kind, shifts in SHIFTS.items():
        for about, shift in shifts.items():
            right = truth(shift, SILENT_BELOW[kind])
            for sizes in CLASSES[:2] if quick else CLASSES:
                scores, labels = drawn(kind, shift, sizes, 100 if quick else 2000)
                what = f"AUROC = {about:g} of {kind}, {sizes[0]} and {sizes[1]} entities"
                held, width = coverage(limits([delong(row, labels) for row in scores]), right)
                yield plain(f"{what}: DeLong, width {width:.2g}", "%", held)
                held, width = coverage(limits([auroc_interval(row, labels) for row in scores]), right)
                yield rate(
                    f"{what}: intervals here, width {width:.2g}",
                    "%",
                    held,
                    "95 %",
                    95,
                    at_least=0.94,
                    why_missed="the error comes from the ten entities of the smaller class: where none of them is an "
                    "exception, nothing in the data says how frequent exceptions are",
                )


if __name__ == "__main__":
    sys.exit(run("coverage_auroc", measure, __doc__))
