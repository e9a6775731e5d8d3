"""The scores of an operator as formulas of its sums of squares, shared by scores from tokens and from moments."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.bootstrap import number_or_none

SCORES = ("r2", "r2_weighted", "r2_whitened", "r2_update", "skill")


@dataclass(frozen=True)
class ResidualScore:
    """Scores of one operator; None where undefined (no variance, other width) or not measured.

    Limits are those of 95 % document-bootstrap intervals, None with fewer than two documents.
    """

    n: int
    """Tokens scored."""
    n_documents: int | None
    """Documents scored; None for scores from moments, which do not know them."""
    r2: float | None
    """Mean over dimensions of 1 - SSE_d / SST_d, SST about the mean of the tokens scored; dimensions that do not
    vary on them are left out."""
    r2_low: float | None
    r2_high: float | None
    r2_weighted: float | None
    """1 - sum SSE / sum SST."""
    r2_weighted_low: float | None
    r2_weighted_high: float | None
    r2_whitened: float | None
    """1 - ||(Y - Y_hat) W||^2 / ||(Y - mean) W||^2 with W = S_yy^(-1/2) of train."""
    r2_whitened_low: float | None
    r2_whitened_high: float | None
    r2_update: float | None
    """r2 of predicting y - x by y_hat - x; None if source and target differ in width or do not differ at all."""
    r2_update_low: float | None
    r2_update_high: float | None
    skill: float | None
    """1 - SSE / SSE of the identity; None under the same conditions."""
    skill_low: float | None
    skill_high: float | None
    mse: float
    """Mean squared error per dimension."""
    cosine: float | None
    """Mean cosine of y and y_hat; None for scores from moments."""


def varying(squares: np.ndarray, rounding: np.ndarray | float) -> np.ndarray:
    """The sums of squares, NaN where they do not exceed what rounding alone leaves."""
    return np.where(squares > rounding, squares, np.nan)


def five_scores(
    sse: np.ndarray,
    sse_white: np.ndarray,
    sst: np.ndarray,
    sst_white: np.ndarray,
    sst_update: np.ndarray,
    identity: np.ndarray,
) -> np.ndarray:
    """The scores named in ``SCORES``, [b, 5], NaN where undefined.

    Args:
        sse: [b, d] squared errors per dimension.
        sse_white: [b] squared errors in whitened coordinates.
        sst: [b, d] squares of y about its mean; NaN for dimensions that do not vary.
        sst_white: [b] the same in whitened coordinates, summed.
        sst_update: [b, d] squares of y - x about its mean; [b, 1] of NaN where x has another width.
        identity: [b] squared errors of the identity, summed.
    """
    total, total_squares = sse.sum(1), np.nansum(sst, axis=1)
    return np.stack(
        [
            _mean_over_varying(sse, sst),
            1 - total / varying(total_squares, 0),
            1 - np.maximum(sse_white, 0) / sst_white,
            _mean_over_varying(sse, np.broadcast_to(sst_update, sse.shape)),
            1 - total / identity,
        ],
        axis=1,
    )


def _mean_over_varying(sse: np.ndarray, sst: np.ndarray) -> np.ndarray:
    """Mean over dimensions of 1 - SSE_d / SST_d, leaving out those whose SST is NaN; NaN if all are."""
    known = np.isfinite(sst)
    shares = np.divide(sse, sst, out=np.zeros_like(sse), where=known).sum(1)
    count = known.sum(1)
    return np.where(count > 0, 1 - shares / np.maximum(count, 1), np.nan)


def named_scores(point: np.ndarray, low: np.ndarray, high: np.ndarray) -> dict[str, float | None]:
    """Scores [5] and their limits under the field names of ResidualScore; NaN and limits of what is None are None."""
    named: dict[str, float | None] = {}
    for i, name in enumerate(SCORES):
        named[name] = number_or_none(point[i])
        for end, limits in (("low", low), ("high", high)):
            named[f"{name}_{end}"] = None if named[name] is None else number_or_none(limits[i])
    return named
