"""Whitened R2 of a truncated operator for every rank at once, from moments: the study's rank curve."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ato.evaluation.ceilings import checked_rank
from ato.moments.whitening import Whitening, groups_of
from ato.numerics.intervals import number_or_none
from ato.operators.operator import AffineMap
from ato.residuals.position_policies import Layer

if TYPE_CHECKING:
    from ato.moments.moments import Moments


def svd_rank_curve(
    operator: AffineMap,
    moments: "Moments",
    source: Layer,
    target: int,
    ranks: Sequence[int],
    *,
    group: str | Sequence[str] = "test",
) -> dict[int, float | None]:
    """Whitened R2 of T_r = U_r S_r V_r' for each rank r, the bias re-fitted on train: what ``r2_svd_paper`` holds.

    T is the full operator (ridge, in the study). Truncating its singular values is optimal for no score here, least
    of all in the whitened metric, so this curve says how the study's maps do and not what rank r allows. One
    difference to the study's code is deliberate: the whitening is by the *centred* train covariance, the same metric
    as the ceiling's, where the study used uncentred second moments.

    With M the moments of the group about the train means, A = W'US and H = (A'A) o (V'M_xx V), the squared error of
    rank r is tr(W'M_yy W) - 2 sum_{i<=r} A_i'W'M_yx V_i + sum_{i,j<=r} H_ij: sums over leading blocks, for all r.

    Args:
        operator: full-rank map; its own bias is not used.
        moments: of a collection that holds the pair.
        source, target: layers.
        ranks: ranks from 1; those beyond the smaller width give the full map.
        group: where the curve is measured: ``"train"``, the name of one group, or several names.

    Returns:
        rank -> R2 about the mean of the group; None where the target does not vary on it.

    Raises:
        InputError: a rank below 1.
        DataError: the group is empty.
    """
    train, test = (moments.summary(source, target, groups_of(moments, split)) for split in ("train", group))
    white = Whitening.of_layer(moments, target).matrix  # [d_out, k]
    left, singular, right = np.linalg.svd(operator.matrix, full_matrices=False)
    dx, dy = test.mean_x - train.mean_x, (test.mean_y - train.mean_y) @ white
    outputs = white.T @ left * singular  # A [k, m]
    inputs = right @ test.sxx @ right.T + test.n * np.outer(right @ dx, right @ dx)  # [m, m]
    crossed = right @ test.sxy @ white + test.n * np.outer(right @ dx, dy)  # [m, k]
    linear = np.cumsum(np.sum(outputs.T * crossed, axis=1))
    quadratic = np.diagonal(np.cumsum(np.cumsum(outputs.T @ outputs * inputs, axis=0), axis=1))
    sst = float(np.sum(test.syy @ white * white))
    sse = sst + test.n * np.sum(dy**2) - 2 * linear + quadratic
    r2 = 1 - np.maximum(sse, 0) / sst if sst > 0 else np.full(len(sse), np.nan)
    return {rank: number_or_none(r2[min(checked_rank(rank), len(r2)) - 1]) for rank in ranks}
