"""Spread over seeds: mean and deviation of a metric over several trainings, and whether two settings differ by more."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import stdtrit

from ato.numerics.intervals import LEVEL, Estimate


@dataclass(frozen=True)
class SeedSpread:
    """A metric over the seeds of one setting."""

    mean: float | None
    """None without a known value."""
    sd: float | None
    """Standard deviation (n - 1 in the denominator); None with fewer than two seeds: one says nothing of the spread."""
    n: int
    """Seeds whose value is known."""
    n_missing: int
    """Seeds whose value is not known."""


@dataclass(frozen=True)
class SeedDifference:
    """The difference of two settings over their seeds."""

    difference: Estimate
    """Mean of the first less mean of the second, with limits (95 %) by Welch's t; these are wide for few seeds."""
    spread: float | None
    """sqrt(sd_first^2 + sd_second^2): how far two single trainings of these settings are apart by their seeds alone."""
    is_larger: bool | None
    """Whether the difference is larger than the spread; if not, it is no finding. None where the spread is not known."""
    reason: str | None = None
    """Why there is no answer."""


def seed_spread(values: Sequence[float | None]) -> SeedSpread:
    """Mean and spread of a metric over seeds.

    Args:
        values: a number a seed; None or NaN where it is missing, which is counted and left out.
    """
    known = _known(values)
    mean = float(known.mean()) if len(known) else None
    sd = float(known.std(ddof=1)) if len(known) > 1 else None
    return SeedSpread(mean, sd, len(known), len(values) - len(known))


def seed_difference(first: Sequence[float | None], second: Sequence[float | None]) -> SeedDifference:
    """Whether two settings differ by more than their seeds do.

    A difference of means counts as larger where it exceeds ``SeedDifference.spread``, the standard deviation of the
    difference of one training of each. That is a plain rule for two or three seeds, where no test has any power; the
    limits by Welch (1947) stand beside it.

    Args:
        first: values of one metric over the seeds of one setting, see ``seed_spread``.
        second: of another setting.
    """
    of_first, of_second = seed_spread(first), seed_spread(second)
    if of_first.mean is None or of_second.mean is None:
        return SeedDifference(Estimate(None), None, None, "no seed has a value in one of the settings")
    difference = of_first.mean - of_second.mean
    if of_first.sd is None or of_second.sd is None:
        return SeedDifference(Estimate(difference), None, None, "fewer than two seeds in one of the settings")
    variances = np.square([of_first.sd, of_second.sd])
    spread, counts = float(np.sqrt(variances.sum())), np.array([of_first.n, of_second.n])
    return SeedDifference(_welch(difference, variances / counts, counts - 1), spread, abs(difference) > spread)


def _welch(difference: float, errors: np.ndarray, freedom: np.ndarray) -> Estimate:
    """Limits of a difference of means from the squared standard errors [2] of both."""
    if not errors.any():
        return Estimate(difference, difference, difference)
    reach = stdtrit(errors.sum() ** 2 / (errors**2 / freedom).sum(), (1 + LEVEL) / 2) * np.sqrt(errors.sum())
    return Estimate(difference, float(difference - reach), float(difference + reach))


def _known(values: Sequence[float | None]) -> np.ndarray:
    numbers = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    return numbers[np.isfinite(numbers)]
