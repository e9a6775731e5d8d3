"""The scores of an operator on features, as formulas of sums over the tokens where each feature is active."""

from dataclasses import dataclass

import numpy as np

from ato.evaluation.feature_sums import FeatureSums
from ato.numerics.intervals import EstimateArray


@dataclass(frozen=True)
class FeatureScores:
    """Scores of one operator on every feature, each [d_sae]; NaN where there is nothing to say.

    With a the true and p the predicted projections of a feature's active tokens, ``b_dec`` added back to both.
    """

    feature_id: np.ndarray
    """int32."""
    n_active: np.ndarray
    """int64, tokens on which the feature is active."""
    n_documents: np.ndarray
    """int64, documents of these tokens."""
    activation_rate: np.ndarray
    """Share of all tokens on which the feature is active."""
    r2: EstimateArray
    """1 - sum (p - a)^2 / sum (a - mean a)^2."""
    ceiling: EstimateArray
    """The same of the best linear combination of predictions, fitted on the active tokens of other documents."""
    skill: np.ndarray
    """1 - sum (p - a)^2 / sum (x.u - a)^2, x the source residual."""
    pearson: np.ndarray
    mse: np.ndarray
    calibration: np.ndarray
    """Cosine of p and a."""
    rms_ratio: np.ndarray
    mean_abs_ratio: np.ndarray
    mean_ratio: np.ndarray
    mad_ratio: np.ndarray
    """Ratio of the mean absolute deviations, over a sample of the tokens."""
    mean_relative_error: np.ndarray
    mean_squared_log_ratio: np.ndarray
    q_transported: np.ndarray
    """See ``ato.evaluation.feature_q_values``."""
    q_computed: np.ndarray
    verdict: np.ndarray
    """One of ``ato.evaluation.verdicts``."""


@dataclass(frozen=True)
class R2Sums:
    """Sums by group of documents that r2 is made from."""

    n: np.ndarray
    """[groups, features]"""
    a: np.ndarray
    aa: np.ndarray
    sse: np.ndarray
    """[groups, operators, features]"""


def r2(sums: R2Sums) -> np.ndarray:
    """r2 [b, operators, features] from sums [b, ...]."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return 1 - sums.sse / _scatter(sums.n, sums.a, sums.aa)[:, None]


def point_scores(
    sums: FeatureSums[np.ndarray], row: int, source_row: int, shift: np.ndarray, deviations: np.ndarray
) -> dict[str, np.ndarray]:
    """The scores of one operator without intervals, under their names in ``FeatureScores``.

    Args:
        sums: over all groups of documents.
        row: of the operator.
        source_row: of its source.
        shift: [d_sae] b_dec.u of each feature.
        deviations: [1 + operators, d_sae] mean absolute deviations of a and of the predictions.
    """
    n, a, aa, sse = sums.by_group.n, sums.by_group.a, sums.by_group.aa, sums.by_group.sse[row]
    tokens = sums.over_all
    p, pp, ap = tokens.p[row], tokens.pp[row], tokens.ap[row]
    raw_aa = aa + 2 * shift * a + n * shift**2
    raw_pp = pp + 2 * shift * p + n * shift**2
    raw_ap = ap + shift * (a + p) + n * shift**2
    with np.errstate(divide="ignore", invalid="ignore"):
        covariance, var_a, var_p = ap - a * p / n, _scatter(n, a, aa), _scatter(n, p, pp)
        return {
            "r2": 1 - sse / var_a,
            "skill": 1 - sse / _positive(tokens.identity_sse[source_row]),
            "pearson": np.clip(covariance / np.sqrt(var_a * var_p), -1, 1),
            "mse": sse / n,
            "calibration": np.clip(raw_ap / np.sqrt(raw_aa * raw_pp), -1, 1),
            "rms_ratio": np.sqrt(np.maximum(raw_pp, 0) / raw_aa),
            "mean_abs_ratio": tokens.abs_p[row] / tokens.abs_a,
            "mean_ratio": (p + n * shift) / (a + n * shift),
            "mad_ratio": deviations[1 + row] / deviations[0],
            "mean_relative_error": tokens.relative[row] / n,
            "mean_squared_log_ratio": tokens.log[row] / n,
        }


def _scatter(n: np.ndarray, total: np.ndarray, squares: np.ndarray) -> np.ndarray:
    """Sum of squares about the mean; NaN where it is nothing but rounding."""
    scatter = squares - total**2 / n
    return np.where(scatter > 1e-12 * squares, scatter, np.nan)


def _positive(values: np.ndarray) -> np.ndarray:
    return np.where(values > 0, values, np.nan)
