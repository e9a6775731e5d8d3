"""Lasso and elastic net from moments: all outputs as one matrix, no row read again, exact cross-validation.

scikit-learn's objective for each output, 1/(2n) ||y - Xb||^2 + alpha l1_ratio |b|_1 + alpha (1 - l1_ratio)/2 ||b||^2 with
an intercept that is not penalised, needs X and y only through A = Sxx / n, c = Sxy / n and the diagonal of Syy / n.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from ato.moments.moments import Moments
from ato.numerics.memo import Memo
from ato.numerics.parallel import run_tasks
from ato.operators.cross_validation import HeldOutRows, HeldOutTarget, fold_sides
from ato.operators.strengths import Strengths
from ato.residuals.position_policies import Layer

TOLERANCE = 1e-10
"""Duality gap relative to the mean square of an output at which it is solved; scikit-learn's default is 1e-4."""
SCORE_TOLERANCE = 1e-8
"""The same for solutions that are only scored: their R2 is then within 1e-6 of the exact one."""
MAX_ITERATIONS = 5000
"""Iterations of one grid point at most; ``gaps`` then says how much of the objective is open."""
CHECK_EVERY = 10
"""Iterations between two computations of the gaps."""


@dataclass(frozen=True)
class GramProblem:
    """The quadratic part of the objective, for all outputs."""

    covariance: np.ndarray
    """A [d_in, d_in]."""
    curvature: float
    """Largest eigenvalue of the correlation matrix of A."""
    cross: np.ndarray
    """c [d_in, d_out]."""
    squares: np.ndarray
    """[d_out] mean squares of the outputs about their means."""

    @classmethod
    def of_source(cls, n: int, sxx: np.ndarray) -> "GramProblem":
        """The part that all targets of a source share, from its centred scatter sum over n rows."""
        scale = _positive_root(sxx.diagonal() / n)
        largest = np.linalg.eigvalsh(sxx / n / scale / scale[:, None])[-1]
        return cls(sxx / n, max(float(largest), 1.0), np.zeros((len(sxx), 0)), np.zeros(0))

    def with_target(self, n: int, sxy: np.ndarray, syy: np.ndarray) -> "GramProblem":
        """The same source with these outputs: centred cross scatter sum [d_in, d_out] and diagonal [d_out] of Syy."""
        return replace(self, cross=sxy / n, squares=syy / n)


@dataclass(frozen=True)
class ElasticNetSolution:
    """Coefficients of all outputs at one grid point."""

    weights: np.ndarray
    """B [d_in, d_out]: y_hat = mean_y + (x - mean_x) B."""
    gaps: np.ndarray
    """[d_out] duality gaps relative to each output's mean square: what the objective lacks at most."""
    iterations: int


def elastic_net(
    problem: GramProblem,
    alpha: float,
    l1_ratio: float = 1.0,
    *,
    start: np.ndarray | None = None,
    tolerance: float = TOLERANCE,
    max_iterations: int = MAX_ITERATIONS,
) -> ElasticNetSolution:
    """Minimise the objective of all outputs at once by FISTA (Beck and Teboulle 2009).

    The momentum of an output restarts whenever it points uphill (O'Donoghue and Candes 2015). An output whose duality
    gap is within the tolerance is finished, and no longer multiplied.

    Args:
        problem: the moments.
        alpha: strength, above 0; on the mean of squares, as in scikit-learn's ``ElasticNet``.
        l1_ratio: share of the L1 penalty, in (0, 1]; 1 is the lasso.
        start: weights [d_in, d_out] to start from, such as those of the next larger alpha.
        tolerance: relative duality gap.
        max_iterations: the solver stops there in any case.
    """
    scaled = _Scaled.of(problem, alpha * l1_ratio, alpha * (1 - l1_ratio))
    weights = np.zeros_like(scaled.cross) if start is None else start * scaled.root
    gaps = scaled.gaps(weights)
    allowed = tolerance * problem.squares
    unsolved = np.flatnonzero(gaps > allowed)
    part, iterations = scaled.outputs(unsolved), 0
    current = point = weights[:, unsolved]
    momentum = np.ones(len(unsolved))
    while len(unsolved) and iterations < max_iterations:
        iterations += 1
        descended = part.step(point)
        change = descended - current
        momentum[np.einsum("ij,ij->j", point - descended, change) > 0] = 1.0
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        current, point = descended, descended + (momentum - 1) / following * change
        momentum = following
        if iterations % CHECK_EVERY == 0 or iterations == max_iterations:
            weights[:, unsolved], gaps[unsolved] = current, part.gaps(current)
            still = gaps[unsolved] > allowed[unsolved]
            if not still.all():
                unsolved, momentum = unsolved[still], momentum[still]
                part, current, point = scaled.outputs(unsolved), current[:, still], point[:, still]
    relative = np.divide(gaps, problem.squares, out=np.zeros_like(gaps), where=problem.squares > 0)
    return ElasticNetSolution(weights / scaled.root, relative, iterations)


def elastic_net_path(
    problem: GramProblem, alphas: Sequence[float] | np.ndarray, l1_ratio: float = 1.0, *, tolerance: float = TOLERANCE
) -> Iterator[tuple[float, ElasticNetSolution]]:
    """Solutions at the alphas from the largest down, each started from the one before."""
    start = None
    for alpha in sorted({float(alpha) for alpha in alphas}, reverse=True):
        solution = elastic_net(problem, alpha, l1_ratio, start=start, tolerance=tolerance)
        start = solution.weights
        yield alpha, solution


_FOLDS: Memo[Layer, list[tuple[HeldOutRows, GramProblem]]] = Memo(capacity=1)


def cross_validated_elastic_net(
    moments: Moments, source: Layer, target: int, strengths: Strengths, *, tolerance: float = SCORE_TOLERANCE
) -> np.ndarray:
    """R2 on each held-out train fold at every grid point: [grid, folds with rows].

    Equal to scikit-learn's ``GridSearchCV(ElasticNet(), scoring="r2")`` on the same folds as far as that solves its
    problems; constant dimensions score as in ``cross_validated_r2``.

    Args:
        moments: with at least two train folds that have rows.
        source, target: a pair of the moments.
        strengths: grid with ``l1_ratios``.
        tolerance: relative duality gap of every solution.

    Raises:
        LayerError: no such pair.
        DataError: fewer than two train folds have rows.
    """
    assert strengths.l1_ratios is not None
    prepared = _FOLDS.get(
        moments,
        source,
        lambda: run_tasks([partial(_source_fold, moments, source, *sides) for sides in fold_sides(moments)]),
    )
    ratios = np.unique(strengths.l1_ratios)
    scores = np.zeros((len(strengths), len(prepared)))

    def follow_path(fold: int, ratio: float) -> None:
        rows, shared = prepared[fold]
        held_out = HeldOutTarget.of(moments, rows, source, target)
        problem = shared.with_target(held_out.n_train, held_out.sxy, held_out.syy)
        points = strengths.l1_ratios == ratio
        for alpha, solution in elastic_net_path(problem, strengths.alphas[points], ratio, tolerance=tolerance):
            scores[points & (strengths.alphas == alpha), fold] = held_out.r2_of(rows, solution.weights)

    # The smaller the L1 share the longer the path: those first, so that the cores finish together.
    run_tasks([partial(follow_path, fold, ratio) for ratio in ratios for fold in range(len(prepared))])
    return scores


def _source_fold(
    moments: Moments, source: Layer, train: tuple[str, ...], test: tuple[str, ...]
) -> tuple[HeldOutRows, GramProblem]:
    rows = HeldOutRows.of(moments, source, train, test)
    n, _, sxx = moments.scatter(source, train)
    return rows, GramProblem.of_source(n, sxx)


@dataclass(frozen=True)
class _Scaled:
    """The objective in coordinates of curvature 1, the ridge penalty included: a lasso with a threshold for each.

    Soft thresholding acts on each coordinate alone, so scaling them leaves the solution what it is; without it a few
    coordinates 1000x larger than the rest would make the steps of all others 10^6 times too small.
    """

    root: np.ndarray
    """[d_in, 1] scale of each coordinate."""
    gram: np.ndarray
    """[d_in, d_in] with unit diagonal."""
    cross: np.ndarray
    """[d_in, d_out]"""
    threshold: np.ndarray
    """[d_in, 1]"""
    squares: np.ndarray
    """[d_out]"""
    curvature: float
    """Bound of the largest eigenvalue of ``gram``: a ridge penalty only lowers that of the correlations towards 1."""

    @classmethod
    def of(cls, problem: GramProblem, l1: float, l2: float) -> "_Scaled":
        root = _positive_root(problem.covariance.diagonal() + l2)[:, None]
        gram = problem.covariance / root / root.T
        gram[np.diag_indices_from(gram)] += l2 / root[:, 0] ** 2
        return cls(root, gram, problem.cross / root, l1 / root, problem.squares, problem.curvature)

    def outputs(self, index: np.ndarray) -> "_Scaled":
        """The same for some of the outputs."""
        return replace(self, cross=self.cross[:, index], squares=self.squares[index])

    def step(self, point: np.ndarray) -> np.ndarray:
        """One proximal gradient step: descend, then shrink towards zero."""
        moved = point + (self.cross - self.gram @ point) / self.curvature
        limit = self.threshold / self.curvature
        return moved - np.clip(moved, -limit, limit)

    def gaps(self, weights: np.ndarray) -> np.ndarray:
        """Duality gaps [d_out], at the residual scaled into the dual feasible set.

        With q = c - Gb, k = min(1, threshold / |q|) and |r|^2 the mean squared residual the gap is
        (1 - k)^2 |r|^2 / 2 + sum_i (threshold_i |b_i| - k q_i b_i): no difference of large numbers.
        """
        correlation = self.cross - self.gram @ weights
        excess = np.max(np.abs(correlation) / self.threshold, axis=0, initial=1.0)
        residual = self.squares - np.einsum("ij,ij->j", weights, self.cross + correlation)
        penalty = np.sum(self.threshold * np.abs(weights) - correlation * weights / excess, axis=0)
        return np.maximum(residual, 0) * (1 - 1 / excess) ** 2 / 2 + penalty


def _positive_root(values: np.ndarray) -> np.ndarray:
    """Square roots; 1 where the value is not positive."""
    return np.sqrt(np.where(values > 0, values, 1.0))
