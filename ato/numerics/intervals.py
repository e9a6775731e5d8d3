"""Estimates with their 95 % intervals, by leaving out one document at a time.

Tokens of one document are correlated, so intervals over tokens are far too narrow. Every score here is a function of
sums over documents: without a document it is the function of the total less that document's sums, and no token is
touched twice. The limits are those of Student's t on the jackknife (Tukey, 1958), on a scale on which the score's error
is nearly symmetric and of one size, with degrees of freedom for documents of unequal size. Nothing is drawn, so equal
data have equal limits. How often they cover the truth is in ``docs/statistics.md``, from ``benchmarks/coverage.py``.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
from scipy.special import stdtr, stdtrit

from ato.numerics.scales import PLAIN, Scale
from ato.numerics.sums import Sums, arrays_of, map_arrays, total

LEVEL = 0.95
"""Coverage of every interval."""

MIN_DOCUMENTS = 5
"""Documents below which no interval is given: it would cover the truth, and be wider than all that a score can be."""
MIN_EFFECTIVE = 2.0
"""Effective number of documents below which no interval is given: nearly all rows are then of one document."""

_NO_VARIANCE = 1e-24
"""Variance of a share that is rounding."""
_CHUNK_NUMBERS = 4_000_000
"""Numbers that the sums without a document may hold at once (32 MB in float64)."""


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where it is not known, as the limits are from too few documents."""

    value: float | None
    low: float | None = None
    high: float | None = None

    def __float__(self) -> float:
        """The value; NaN where it is not known."""
        return float("nan") if self.value is None else self.value


@dataclass(frozen=True)
class EstimateArray:
    """Estimates in arrays of one shape; NaN where a value or a limit is not known."""

    value: np.ndarray
    low: np.ndarray
    high: np.ndarray

    def __getitem__(self, index: int | tuple[int, ...]) -> Estimate:
        return Estimate(*(number_or_none(part[index]) for part in (self.value, self.low, self.high)))

    def item(self) -> Estimate:
        """The only estimate of arrays without axes."""
        return self[()]


@dataclass(frozen=True)
class Jackknife:
    """What leaving out documents says of estimates, in arrays of one shape; NaN where it says nothing."""

    value: np.ndarray
    """From all documents."""
    centre: np.ndarray
    """The estimate on the scale."""
    error: np.ndarray
    """Its standard error there."""
    freedom: np.ndarray
    """Degrees of freedom of that error."""
    scale: Scale

    def interval(self) -> EstimateArray:
        """The values with their limits (95 %), which always hold them."""
        ends = [self.scale.inverse(end) for end in self.ends()]
        low, high = np.minimum(*ends), np.maximum(*ends)
        return EstimateArray(self.value, np.minimum(low, self.value), np.maximum(high, self.value))

    def ends(self) -> tuple[np.ndarray, np.ndarray]:
        """The limits on the scale, the smaller first there."""
        reach = stdtrit(self.freedom, (1 + LEVEL) / 2) * self.error
        return self.centre - reach, self.centre + reach

    def p_above(self, threshold: float) -> np.ndarray:
        """One-sided p of "the true value is at most the threshold"; 2.5 % where the lower limit is the threshold."""
        return self._p(self.scale.forward(np.asarray(threshold, dtype=np.float64)), self.scale.rising)

    def p_below(self, threshold: float) -> np.ndarray:
        """One-sided p of "the true value is at least the threshold"."""
        return self._p(self.scale.forward(np.asarray(threshold, dtype=np.float64)), not self.scale.rising)

    def _p(self, threshold: np.ndarray, above: bool) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (threshold - self.centre) / self.error
        p: np.ndarray = stdtr(self.freedom, t if above else -t)
        return p


def document_interval(
    sums: Sums,
    estimator: Callable[[Sums], np.ndarray],
    rows: np.ndarray,
    scale: Scale = PLAIN,
    *,
    corrected: bool = False,
) -> EstimateArray:
    """An estimate that is a function of sums over documents, with its interval (95 %); see ``jackknife``."""
    return jackknife(sums, estimator, rows, scale, corrected=corrected).interval()


def jackknife(
    sums: Sums,
    estimator: Callable[[Sums], np.ndarray],
    rows: np.ndarray,
    scale: Scale = PLAIN,
    *,
    corrected: bool = False,
) -> Jackknife:
    """An estimate from all documents, and from all but one.

    Args:
        sums: [documents, ...] sums per document, one array or a dataclass of them, see ``ato.numerics.sums``.
        estimator: takes what ``sums`` is, with a first axis [b, ...] of any length in place of documents, and returns
            estimates [b, ...].
        rows: [documents, ...] tokens (or sequences, or entities) of each document behind each estimate, of a shape
            that broadcasts to the estimates; documents without any do not count.
        scale: on which limits are made.
        corrected: put the middle of the interval where the estimate would be without its bias (Quenouille, 1956).
            For means over many directions: each one's bias, of the order of 1 / documents, stays, while their errors
            cancel. For the score of one direction the error is much larger than the bias, and correcting adds to it.

    Returns:
        Of the shape of one estimate. The error is NaN with fewer than ``MIN_DOCUMENTS`` documents or
        ``MIN_EFFECTIVE`` effective ones, and where the estimate is not defined without one of them.
    """
    sums = map_arrays(partial(np.asarray, dtype=np.float64), sums)
    value = np.asarray(estimator(total(sums)))[0]
    with np.errstate(divide="ignore", invalid="ignore"):  # without its only document an estimate is 0 / 0
        parts = [scale.forward(np.asarray(estimator(part))) for part in left_out(sums)]
    without = np.concatenate([np.empty((0, *value.shape)), *parts])
    rows = np.asarray(rows, dtype=np.float64)
    rows = np.broadcast_to(rows.reshape(*rows.shape, *[1] * (1 + value.ndim - rows.ndim)), without.shape)
    return from_left_out(value, without, rows, scale, corrected=corrected)


def from_left_out(
    value: np.ndarray, without: np.ndarray, rows: np.ndarray, scale: Scale = PLAIN, *, corrected: bool = False
) -> Jackknife:
    """The same from estimates [...] of all documents, and [documents, ...] without each, these on the scale already.

    Args:
        value: of all documents, not on the scale.
        without: on the scale.
        rows: of the shape of ``without``.
        scale: see ``jackknife``.
        corrected: likewise.
    """
    counted, centre = rows > 0, scale.forward(value)
    n, freedom = counted.sum(0), degrees_of_freedom(rows)
    with np.errstate(divide="ignore", invalid="ignore"):
        mean = np.where(counted, without, 0).sum(0) / n
        error = np.sqrt((n - 1) / n * np.square(np.where(counted, without - mean, 0)).sum(0))
        centre = n * centre - (n - 1) * mean if corrected else centre
    known = (n >= MIN_DOCUMENTS) & (freedom >= MIN_EFFECTIVE - 1)
    return Jackknife(value, centre, np.where(known, error, np.nan), np.where(known, freedom, np.nan), scale)


def left_out(sums: Sums) -> Iterator[Sums]:
    """The sums over all documents but one, [b, ...] for b documents at a time in their order."""
    arrays = list(arrays_of(sums))
    step = max(1, _CHUNK_NUMBERS // max(sum(array.size for array in arrays) // max(len(arrays[0]), 1), 1))
    whole = total(sums)
    totals = list(arrays_of(whole))
    for start in range(0, len(arrays[0]), step):
        rest = iter([all_of - array[start : start + step] for all_of, array in zip(totals, arrays, strict=True)])

        def without(_: np.ndarray, rest: Iterator[np.ndarray] = rest) -> np.ndarray:
            return next(rest)

        yield map_arrays(without, sums)


def strata_interval(
    value: float, without: Sequence[np.ndarray], scale: Scale = PLAIN
) -> tuple[float | None, float | None]:
    """Limits (95 %) of an estimate from several independent samples, of which one unit is left out at a time.

    Args:
        value: of all units.
        without: a sample each, [units], at least two: the estimate without each of its units.
        scale: on which the limits are made.

    Returns:
        Limits that hold the value, with the degrees of freedom of Welch and Satterthwaite; None where no unit makes a
        difference, which says nothing about the error. The error is that of the values and is carried over to the scale
        by its slope: on the scale itself one unit, without which the estimate is 1, would be infinitely far off.
    """
    n = np.array([len(part) for part in without])
    variances = (n - 1) / n * np.array([np.square(part - part.mean()).sum() for part in without])
    whole = variances.sum()
    if not whole > _NO_VARIANCE:
        return None, None
    freedom = np.square(whole) / (np.square(variances) / (n - 1)).sum()
    known = np.asarray(value, dtype=np.float64)
    error = np.sqrt(whole) * scale.slope(known)
    found = Jackknife(known, scale.forward(known), error, np.asarray(freedom), scale).interval().item()
    return found.low, found.high


def sure_limits(value: float, n: int) -> tuple[float, float]:
    """Limits (95 %) of a share that is 0 or 1 in n units: the other end is where n equal units have 2.5 % (Clopper-Pearson)."""
    bound = ((1 - LEVEL) / 2) ** (1 / n)
    return (bound, 1.0) if value else (0.0, 1 - bound)


def degrees_of_freedom(rows: np.ndarray) -> np.ndarray:
    """Effective number of documents less one, from their rows [documents, ...]: (sum n)^2 / sum n^2 - 1 (Kish, 1965)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        freedom: np.ndarray = rows.sum(0) ** 2 / np.square(rows).sum(0) - 1
    return freedom


def number_or_none(value: float) -> float | None:
    """A float, or None (NULL in a table) where it is not finite."""
    return float(value) if np.isfinite(value) else None
