"""Scores of transport operators in residual space from moments alone: no token is touched."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from ato.evaluation.residual_formulas import SCORES, ResidualScore, TargetSquares, five_scores, varying
from ato.moments.pair import PairMoments
from ato.moments.whitening import RESOLUTION, Whitening, groups_of
from ato.numerics.intervals import Estimate, number_or_none
from ato.numerics.memo import Memo
from ato.numerics.sums import map_arrays
from ato.operators.operator import AffineMap
from ato.residuals.position_policies import Layer

if TYPE_CHECKING:
    from ato.moments.moments import Moments

_SCORED: Memo[tuple[Layer, int, tuple[str, ...]], tuple[PairMoments, float]] = Memo(capacity=2)
"""(source, target, groups) -> their moments and whitened sum of squares, for train and val of the latest pair."""


def residual_scores_from_moments(
    operator: AffineMap,
    moments: "Moments",
    source: Layer,
    target: int,
    group: str | Sequence[str] = "test",
    *,
    whitened: bool = True,
) -> ResidualScore:
    """Scores of an operator as quadratic forms of moments: no token is touched, no interval and no cosine is known.

    With error scatter E = S_yy - T S_xy - (T S_xy)' + T S_xx T' and mean error m = mean_y - T mean_x - b,
    SSE_d = E_dd + n m_d^2; the other scores follow as for tokens.

    Args:
        operator: the map scored.
        moments: of a collection that holds the pair; the whitening is that of their train groups.
        source, target: layers.
        group: ``"train"`` (all folds), the name of one group, or several names.
        whitened: False leaves ``r2_whitened`` unknown, which saves three products of four.

    Raises:
        LayerError: no such pair.
        DataError: the group is empty.
    """
    names, white = groups_of(moments, group), Whitening.of_layer(moments, target).matrix

    def make() -> tuple[PairMoments, float]:
        pair = moments.summary(source, target, names)
        return pair, float(np.sum((pair.syy @ white) * white))

    pair, white_squares = _SCORED.get(moments, (source, target, tuple(names)), make)  # shared by all operators
    matrix, n = operator.matrix, pair.n
    mean_error = pair.mean_y - matrix @ pair.mean_x - operator.bias
    sse_white = np.array(np.nan)
    if whitened:
        cross = matrix @ pair.sxy
        scatter = pair.syy - cross - cross.T + matrix @ pair.sxx @ matrix.T
        sse_white = np.sum((scatter @ white) * white) + n * np.sum((mean_error @ white) ** 2)
        squares_of_error = np.diagonal(scatter)
    else:  # the diagonal of the scatter alone
        crossed, own = (np.einsum("ij,ij->i", a, matrix) for a in (pair.sxy.T, matrix @ pair.sxx))
        squares_of_error = np.diagonal(pair.syy) - 2 * crossed + own
    sse = np.maximum(squares_of_error + n * mean_error**2, 0)
    y_squares, rounding = np.diagonal(pair.syy), n * (RESOLUTION * np.abs(pair.mean_y)) ** 2
    sst = varying(y_squares, rounding)
    sst_update, identity = np.full_like(sst, np.nan), np.array(np.nan)
    if matrix.shape[0] == matrix.shape[1]:
        both = y_squares + np.diagonal(pair.sxx)
        differences = both - 2 * np.diagonal(pair.sxy)
        sst_update = varying(differences, np.maximum(1e-6 * both, rounding))
        identity = varying(differences.sum() + n * np.sum((pair.mean_y - pair.mean_x) ** 2), 1e-6 * both.sum())
    squares = TargetSquares(sst, varying(np.array(white_squares), 0), sst_update, identity)
    scores = five_scores(sse[None], np.asarray(sse_white)[None], map_arrays(lambda array: array[None], squares))[0]
    return ResidualScore(
        n=n,
        n_documents=None,
        **{name: Estimate(number_or_none(score)) for name, score in zip(SCORES, scores, strict=True)},
        mse=float(sse.mean() / n),
        cosine=None,
    )
