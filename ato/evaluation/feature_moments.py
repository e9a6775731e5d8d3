"""Scores of features over all tokens, from moments alone: no token is touched."""

import numpy as np

from ato.moments.moments import Moments
from ato.moments.whitening import Whitening, groups_of
from ato.operators.operator import TransportOperator
from ato.residuals.position_policies import Layer, layer_number


def feature_scores_from_moments(
    operator: TransportOperator, moments: Moments, source: Layer, target: int, directions: np.ndarray
) -> np.ndarray:
    """``r2_all_tokens`` [F]: R2 of y.u over all test tokens, y_hat = T x + b.

    SSE = u'(S_yy - T S_xy - S_yx T' + T S_xx T')u + n ((mean y - T mean x - b).u)^2, SST = u' S_yy u.

    Args:
        directions: [F, d_target] unit decoder rows.

    Returns:
        NaN for a direction without variance.
    """
    summary = moments.summary(source, target, ["test"])
    u = np.asarray(directions, dtype=np.float64)
    total = _quadratic(u, summary.syy, u)
    # The scatter of errors once, not a product with the features for each of its terms: features outnumber d.
    cross = operator.matrix @ summary.sxy
    scatter = summary.syy - cross - cross.T + operator.matrix @ summary.sxx @ operator.matrix.T
    offset = u @ (summary.mean_y - operator.matrix @ summary.mean_x - operator.bias)
    errors = np.maximum(_quadratic(u, scatter, u), 0) + summary.n * offset**2
    return 1 - errors / _or_nan(total, summary.syy)


def feature_ceiling(moments: Moments, source: Layer, target: int, directions: np.ndarray) -> np.ndarray:
    """``ceiling_all_tokens`` [F]: squared correlation on held-out tokens of the best linear prediction of y.u.

    The coefficients S_xx^-1 S_xy u are those of least squares on train, without directions that are rounding only (see
    ``Whitening.from_scatter``); the correlation is measured on test. Close to 0 for independent x and y, where
    the in-sample value u'S_yx S_xx^-1 S_xy u / u'S_yy u would be d/n.

    Returns:
        in [0, 1]; NaN where the feature or its prediction has no variance; 0 where the held-out correlation is
        negative.
    """
    test = moments.summary(source, target, ["test"])
    u = np.asarray(directions, dtype=np.float64)
    coefficients = u @ least_squares_map(moments, source, target).matrix
    predicted = _quadratic(coefficients, test.sxx, coefficients)
    predicted = np.where(predicted > 0, predicted, np.nan)
    total = _or_nan(_quadratic(u, test.syy, u), test.syy)
    correlation = _quadratic(coefficients, test.sxy, u) / np.sqrt(predicted * total)
    return np.minimum(np.maximum(correlation, 0) ** 2, 1)


def least_squares_map(moments: Moments, source: Layer, target: int) -> TransportOperator:
    """The map of least squares on train, S_yx S_xx^-1, without directions of x that are rounding only."""
    groups = groups_of(moments, "train")
    # W W' is the inverse of the train covariance of x.
    whitening = Whitening.of_layer(moments, source)
    _, y_mean, _ = moments.variation(target, groups)
    matrix = (moments.cross(source, target, groups).T @ whitening.matrix) @ whitening.matrix.T / whitening.n
    return TransportOperator(
        matrix,
        y_mean - matrix @ whitening.mean,
        "linear",
        layer_number(source),
        target,
        x_mean=whitening.mean,
        y_mean=y_mean,
    )


def _quadratic(left: np.ndarray, matrix: np.ndarray, right: np.ndarray) -> np.ndarray:
    """left_f' matrix right_f for every row f."""
    return np.einsum("fi,fi->f", left @ matrix, right)


def _or_nan(scatter: np.ndarray, matrix: np.ndarray) -> np.ndarray:
    """The scatter, NaN where it is nothing but rounding of the whole."""
    return np.where(scatter > 1e-12 * np.trace(matrix), scatter, np.nan)
