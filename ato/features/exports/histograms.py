"""Histograms over bins of any width, as viewers want them: bars of equal width, and percentiles."""

import numpy as np
from numpy.typing import ArrayLike

from ato.errors import InputError


def equal_bars(
    edges: ArrayLike, counts: ArrayLike, low: float, high: float, n_bars: int = 40
) -> tuple[np.ndarray, np.ndarray]:
    """Bars of equal width over [low, high]: middles [n_bars] and heights [n_bars] float64.

    The counts of a bin are spread evenly over it. What lies outside [low, high] is left out. Both are empty where there
    is no bin or ``low`` is not below ``high``.

    Raises:
        InputError: the edges are not finite and ascending, or not one more than the counts.
    """
    at, below = _cumulative(edges, counts)
    if not len(at) or not low < high:
        return np.empty(0), np.empty(0)
    bars = np.linspace(low, high, n_bars + 1)
    return (bars[:-1] + bars[1:]) / 2, np.diff(np.interp(bars, at, below))


def percentiles(edges: ArrayLike, counts: ArrayLike) -> np.ndarray:
    """The 1st to 99th percentile [99] float64 of what was counted; empty where nothing was.

    Raises:
        InputError: as ``equal_bars``.
    """
    at, below = _cumulative(edges, counts)
    if not len(at) or not below[-1]:
        return np.empty(0)
    wanted = np.arange(1, 100) / 100 * below[-1]
    end = np.searchsorted(below, wanted)  # the first edge with as much below it, so its bin is not empty
    share = (wanted - below[end - 1]) / (below[end] - below[end - 1])
    return at[end - 1] + share * (at[end] - at[end - 1])


def _cumulative(edges: ArrayLike, counts: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Edges, and what was counted below each."""
    at, heights = np.asarray(edges, dtype=float), np.asarray(counts, dtype=float)
    if not len(at) and not len(heights):
        return at, heights
    if len(at) != len(heights) + 1 or not np.isfinite(at).all() or not (np.diff(at) > 0).all():
        raise InputError(
            f"{len(at)} edges do not bound {len(heights)} bins",
            cure="give finite ascending edges, one more than counts",
        )
    return at, np.r_[0.0, heights.cumsum()]
