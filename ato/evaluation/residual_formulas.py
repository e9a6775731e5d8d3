"""The scores of an operator as formulas of its sums of squares, shared by scores from tokens and from moments."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.intervals import Estimate

SCORES = ("r2", "r2_weighted", "r2_whitened", "r2_update", "skill")
"""The estimates of a ``ResidualScore``, in the order of ``five_scores``."""


@dataclass(frozen=True)
class ResidualScore:
    """Scores of one operator; None where undefined (no variance, other width) or not measured."""

    n: int
    """Tokens scored."""
    n_documents: int | None
    """Documents scored; None for scores from moments, which do not know them and have no limits."""
    r2: Estimate
    """Mean over dimensions of 1 - SSE_d / SST_d, SST about the mean of the tokens scored; dimensions that do not
    vary on them are left out."""
    r2_weighted: Estimate
    """1 - sum SSE / sum SST."""
    r2_whitened: Estimate
    """1 - ||(Y - Y_hat) W||^2 / ||(Y - mean) W||^2 with W = S_yy^(-1/2) of train."""
    r2_update: Estimate
    """r2 of predicting y - x by y_hat - x; None if source and target differ in width or do not differ at all."""
    skill: Estimate
    """1 - SSE / SSE of the identity; None under the same conditions."""
    mse: float
    """Mean squared error per dimension."""
    cosine: float | None
    """Mean cosine of y and y_hat; None for scores from moments."""


@dataclass(frozen=True)
class TargetSquares:
    """Sums of squares that errors are compared with; NaN where nothing varies."""

    y: np.ndarray
    """[b, d] squares of y about its mean."""
    white: np.ndarray
    """[b] the same in whitened coordinates, summed."""
    update: np.ndarray
    """[b, d] squares of y - x about its mean; [b, 1] of NaN where x has another width."""
    identity: np.ndarray
    """[b] squared errors of the identity, summed."""


def varying(squares: np.ndarray, rounding: np.ndarray | float) -> np.ndarray:
    """The sums of squares, NaN where they do not exceed what rounding alone leaves."""
    return np.where(squares > rounding, squares, np.nan)


def five_scores(sse: np.ndarray, sse_white: np.ndarray, squares: TargetSquares) -> np.ndarray:
    """The scores named in ``SCORES``, [b, 5], NaN where undefined.

    Args:
        sse: [b, d] squared errors per dimension.
        sse_white: [b] squared errors in whitened coordinates.
        squares: of the target.
    """
    total, total_squares = sse.sum(1), np.nansum(squares.y, axis=1)
    return np.stack(
        [
            _mean_over_varying(sse, squares.y),
            1 - total / varying(total_squares, 0),
            1 - np.maximum(sse_white, 0) / squares.white,
            _mean_over_varying(sse, np.broadcast_to(squares.update, sse.shape)),
            1 - total / squares.identity,
        ],
        axis=1,
    )


def _mean_over_varying(sse: np.ndarray, sst: np.ndarray) -> np.ndarray:
    """Mean over dimensions of 1 - SSE_d / SST_d, leaving out those whose SST is NaN; NaN if all are."""
    known = np.isfinite(sst)
    shares = np.divide(sse, sst, out=np.zeros_like(sse), where=known).sum(1)
    count = known.sum(1)
    return np.where(count > 0, 1 - shares / np.maximum(count, 1), np.nan)
