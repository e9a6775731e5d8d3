"""Ceiling, whitened R2 and efficiency of every rank as the study's released code computes them, from moments alone.

Its steps, with S the covariances (1/n) of train, mu the train mean of y and T the full ridge map:

1. ceiling(r) = (1/d) sum_{i<=r} rho_i^2, rho the singular values of S_yy^(-1/2) S_yx S_xx^(-1/2) on *train*;
   eigenvalues below 1e-12 count as 1e-12, and d is the width of x.
2. T_r = U_r S_r V_r', the truncated SVD of T, with the bias that makes the mean error on train 0.
3. W = (S_yy + mu mu')^(-1/2): the inverse root of the *uncentred* second moment.
4. r2(r) = 1 - sum |W (y - y_hat)|^2 / sum |W (y - mu)|^2 over test, about the *train* mean.
5. efficiency(r) = r2(r) / ceiling(r): two metrics, and two samples, in one ratio.

The released code makes the products of step 3 in float32, here they are in float64. Where it gives 0 for a target without
variance, or divides by a ceiling of at most 1e-8, there is no value here.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ato.evaluation.ceilings import CanonicalModes, checked_rank
from ato.evaluation.subspace_sizes import SubspaceSizes, subspace_sizes
from ato.moments.whitening import Whitening, groups_of
from ato.numerics.intervals import number_or_none
from ato.operators.operator import AffineMap
from ato.residuals.position_policies import Layer

if TYPE_CHECKING:
    from ato.moments.moments import Moments
    from ato.moments.pair import PairMoments

FLOOR = 1e-12
"""Smallest eigenvalue of a covariance, in its own units."""
SMALLEST_CEILING = 1e-8


@dataclass(frozen=True)
class PublishedCurve:
    """What the released code gives for one pair."""

    rho: np.ndarray
    """[m] canonical correlations on train, descending."""
    d: int
    """Width of x."""
    r2: dict[int, float | None]
    """Rank -> whitened R2; None where the target does not vary."""

    def ceiling(self, rank: int) -> float:
        """(1/d) sum_{i<=rank} rho_i^2."""
        return float(np.sum(self.rho[: checked_rank(rank)] ** 2) / self.d)

    def efficiency(self, rank: int) -> float | None:
        """r2 / ceiling; None where either is missing or the ceiling is 0 but for rounding."""
        r2, ceiling = self.r2[rank], self.ceiling(rank)
        return None if r2 is None or ceiling <= SMALLEST_CEILING else r2 / ceiling

    @property
    def sizes(self) -> SubspaceSizes:
        """Sizes of the linear subspace on train; the released code prints ``participation``."""
        return subspace_sizes(self.rho)


def published_curve(
    operator: AffineMap, moments: "Moments", source: Layer, target: int, ranks: Sequence[int], modes: CanonicalModes
) -> PublishedCurve:
    """The curve of one pair over its test tokens.

    Args:
        operator: full-rank map (ridge, in the study); its own bias is not used.
        moments: of a collection that holds the pair.
        source, target: layers.
        ranks: ranks from 1; those beyond the smaller width give the full map.
        modes: of the pair's train tokens; their correlations are the study's as long as no eigenvalue is raised.

    Raises:
        InputError: a rank below 1.
        DataError: there are no test tokens.
    """
    train, test = (moments.summary(source, target, groups_of(moments, split)) for split in ("train", "test"))
    white_x, white_y = (Whitening.of_layer(moments, layer) for layer in (source, target))
    regular_x, regular_y = _is_regular(white_x), _is_regular(white_y)
    if regular_x and regular_y:
        rho = modes.rho_in_sample
    else:
        root_x, root_y = (_inverse_root(scatter / train.n) for scatter in (train.sxx, train.syy))
        rho = np.clip(np.linalg.svd(root_y.T @ train.sxy.T @ root_x / train.n, compute_uv=False), 0, 1)
    if regular_y:
        metric = _uncentred(white_y.matrix, train.mean_y)
    else:
        metric = _inverse_root(train.syy / train.n + np.outer(train.mean_y, train.mean_y))
    return PublishedCurve(rho, len(train.mean_x), truncated_r2(operator, train, test, ranks, metric))


def truncated_r2(
    operator: AffineMap, train: "PairMoments", test: "PairMoments", ranks: Sequence[int], metric: np.ndarray
) -> dict[int, float | None]:
    """R2 about the train mean, in a metric, of T_r = U_r S_r V_r' for each rank r, its bias re-fitted on train.

    With M the moments of test about the train means, W the metric, A = W'US and H = (A'A) o (V'M_xx V), the squared
    error of rank r is tr(W'M_yy W) - 2 sum_{i<=r} A_i'W'M_yx V_i + sum_{i,j<=r} H_ij: sums over leading blocks, for
    all r.

    Args:
        metric: [d_out, k] W, for squared norms |W'y|^2.
    """
    left, singular, right = np.linalg.svd(operator.matrix, full_matrices=False)
    dx, dy = test.mean_x - train.mean_x, (test.mean_y - train.mean_y) @ metric
    outputs = metric.T @ left * singular  # A [k, m]
    inputs = right @ test.sxx @ right.T + test.n * np.outer(right @ dx, right @ dx)  # [m, m]
    crossed = right @ test.sxy @ metric + test.n * np.outer(right @ dx, dy)  # [m, k]
    linear = np.cumsum(np.sum(outputs.T * crossed, axis=1))
    quadratic = np.diagonal(np.cumsum(np.cumsum(outputs.T @ outputs * inputs, axis=0), axis=1))
    sst = float(np.sum(test.syy @ metric * metric) + test.n * np.sum(dy**2))
    r2 = 1 - np.maximum(sst - 2 * linear + quadratic, 0) / sst if sst > 0 else np.full(len(linear), np.nan)
    return {rank: number_or_none(r2[min(checked_rank(rank), len(r2)) - 1]) for rank in ranks}


def _is_regular(whitening: Whitening) -> bool:
    """Whether no direction was dropped and no eigenvalue of the covariance is below the floor."""
    # The sum of the inverse eigenvalues bounds the largest of them.
    return whitening.kept == len(whitening.mean) and float(np.sum(whitening.matrix**2)) < 1 / FLOOR


def _uncentred(white: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """W with W W' = (S + mean mean')^-1 from one with W W' = S^-1 (Sherman and Morrison), without a decomposition."""
    v = mean @ white
    size = float(v @ v)
    return white if size == 0 else white - np.outer(white @ v, v) * ((1 - 1 / np.sqrt(1 + size)) / size)


def _inverse_root(second: np.ndarray) -> np.ndarray:
    """W with W W' the inverse of a second moment [d, d] whose eigenvalues are raised to the floor."""
    values, vectors = np.linalg.eigh(second)
    return vectors / np.sqrt(np.maximum(values, FLOOR))
