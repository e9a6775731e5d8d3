"""Size of the linear transport subspace, from canonical correlations."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class SubspaceSizes:
    """Size of the linear transport subspace by six definitions, in directions; the dimensions are 0 without any rho."""

    participation: float
    """(sum rho)^2 / sum rho^2, the study's."""
    rank_90: int
    """Smallest r >= 1 whose ceiling is 90 % of the full ceiling."""
    rank_95: int
    rank_99: int
    participation_squared: float
    """(sum rho^2)^2 / sum rho^4: each mode counts by the variance that it carries."""
    entropy: float
    """exp of the entropy of rho^2 / sum rho^2."""


def subspace_sizes(rho: np.ndarray) -> SubspaceSizes:
    """Subspace sizes of canonical correlations [m]; NaN (not measurable) counts as 0.

    Re-measured correlations may be negative: they enter the participation with their sign, so that modes without
    signal cancel, and the ranks with their squares.
    """
    rho = np.nan_to_num(np.asarray(rho, dtype=np.float64))
    gains = np.cumsum(rho**2)
    if not gains.size or gains[-1] == 0:
        return SubspaceSizes(0.0, 1, 1, 1, 0.0, 0.0)
    # The tolerance lets equal modes count exactly, whatever their sum rounds to.
    ranks = [int(np.searchsorted(gains, share * gains[-1] * (1 - 1e-12)) + 1) for share in (0.90, 0.95, 0.99)]
    shares = rho**2 / gains[-1]
    entropy = float(np.exp(-np.sum(shares * np.log(np.where(shares > 0, shares, 1.0)))))
    rank_90, rank_95, rank_99 = ranks
    return SubspaceSizes(
        float(rho.sum() ** 2 / gains[-1]), rank_90, rank_95, rank_99, float(1 / np.sum(shares**2)), entropy
    )


def lts_rank_null(rho: np.ndarray, rho_null: np.ndarray) -> int:
    """Number of correlations above the largest one of the permutation null: the subspace size that needs no threshold.

    Args:
        rho: [m] train correlations.
        rho_null: [m] or [permutations, m], the same with the documents of y shuffled against x; NaN counts as 0.
    """
    edge = np.nan_to_num(np.asarray(rho_null, dtype=np.float64)).max(initial=0.0)
    # The tolerance keeps modes that are 1 on both sides, as with fewer tokens than dimensions, from counting.
    return int(np.sum(np.nan_to_num(rho) > edge + 1e-12))
