"""The solvers that the registry of methods names: each fits the map of one pair of layers at one strength.

A solver takes a problem and a strength and returns a solution. A scorer takes a problem and returns the held-out R2 of
all its strengths at once, where that is cheaper than solving on every fold. Both are pure functions.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np

from ato.moments.moments import Moments
from ato.numerics.parallel import run_tasks
from ato.operators import solvers
from ato.operators.cross_validation import (
    HeldOutRows,
    HeldOutTarget,
    cross_validated_r2,
    fold_sides,
    train_eigendecomposition,
)
from ato.operators.elastic_net import GramProblem, cross_validated_elastic_net, elastic_net_path
from ato.operators.solvers import Eigendecomposition
from ato.operators.strengths import Strength, Strengths
from ato.residuals.position_policies import Layer


@dataclass(frozen=True)
class FitProblem:
    """A pair of layers, the rows to fit on, and what the caller chose."""

    moments: Moments
    source: Layer
    target: int
    groups: tuple[str, ...]
    """Groups of rows to fit on."""
    strengths: Strengths
    rank: int | None = None
    output_weight: str | None = None
    decoder: np.ndarray | None = None
    """[features, d_out], float64."""
    matrix: np.ndarray | None = None
    """[d_out, d_in], of a method that is measured."""

    @property
    def d_in(self) -> int:
        """Width of the source."""
        return self.moments.d[self.source]

    @property
    def d_out(self) -> int:
        """Width of the target."""
        return self.moments.d[self.target]

    @property
    def sxx(self) -> np.ndarray:
        """Centred scatter of the source [d_in, d_in]."""
        return self.moments.scatter(self.source, self.groups)[2]

    @property
    def sxy(self) -> np.ndarray:
        """Centred cross scatter [d_in, d_out]."""
        return self.moments.cross(self.source, self.target, self.groups)

    @property
    def syy(self) -> np.ndarray:
        """Centred scatter of the target [d_out, d_out]; from rows, only methods with an ``output_weight`` have it."""
        return self.moments.scatter(self.target, self.groups)[2]

    @cached_property
    def eigen(self) -> Eigendecomposition:
        """Eigendecomposition of ``sxx``; on all train folds, the one that all targets of the source share."""
        if self.groups == self.moments.train_folds:
            return train_eigendecomposition(self.moments, self.source)
        return solvers.decompose(self.sxx, self.moments.epsilon)


@dataclass(frozen=True)
class Solution:
    """A fitted map."""

    matrix: np.ndarray
    """T [d_out, d_in]."""
    rank: int | None
    """Bound of T's rank; None for the identity."""
    kept_rank: int | None = None
    """Source directions above rounding; None where none are cut."""
    bias: np.ndarray | None = None
    """[d_out]; None: what takes the train mean of x to that of y."""
    truncate_to: int | None = None
    """Rank that the operator is truncated to by SVD."""
    duality_gap: float | None = None
    """What the objective lacks at most, relative to the mean squares of an output."""


Solver = Callable[[FitProblem, Strength], Solution]


def refitted_r2(problem: FitProblem, solve: Solver) -> np.ndarray:
    """R2 [grid, folds] of any solver: it is run on the other folds at every strength."""

    def of_fold(train: tuple[str, ...], held_out: tuple[str, ...]) -> list[float]:
        rows = HeldOutRows.of(problem.moments, problem.source, train, held_out)
        target = HeldOutTarget.of(problem.moments, rows, problem.source, problem.target)
        fold = replace(problem, groups=train)
        return [target.r2_of(rows, solve(fold, strength).matrix.T) for strength in problem.strengths]

    return np.transpose(run_tasks([partial(of_fold, *sides) for sides in fold_sides(problem.moments)]))


def ridge_r2(problem: FitProblem) -> np.ndarray:
    """Scorer of ridge. Methods that cut its rank are scored by it too: their strength is that of the full map."""
    return cross_validated_r2(problem.moments, problem.source, problem.target, problem.strengths.alphas)


def update_r2(problem: FitProblem) -> np.ndarray:
    """Scorer of ``ridge_to_identity``."""
    return cross_validated_r2(problem.moments, problem.source, problem.target, problem.strengths.alphas, of_update=True)


def elastic_net_r2(problem: FitProblem) -> np.ndarray:
    """Scorer of lasso and elastic net."""
    return cross_validated_elastic_net(problem.moments, problem.source, problem.target, problem.strengths)


def ridge(problem: FitProblem, strength: Strength) -> Solution:
    """T = Syx (Sxx + alpha)^-1; the pseudo-inverse at alpha = 0."""
    eigen = problem.eigen
    weights = solvers.ridge(eigen, problem.sxy, _alpha(strength))
    return Solution(weights.T, min(eigen.kept_rank, problem.d_out), eigen.kept_rank)


def ridge_to_identity(problem: FitProblem, strength: Strength) -> Solution:
    """T = I + (Syx - Sxx) (Sxx + alpha)^-1: ridge on the update y - x."""
    eigen = problem.eigen
    weights = np.eye(problem.d_in) + solvers.ridge(eigen, problem.sxy - problem.sxx, _alpha(strength))
    return Solution(weights.T, problem.d_in, eigen.kept_rank)


def truncated_ridge(problem: FitProblem, strength: Strength) -> Solution:
    """Ridge, and then the study's rank constraint, see ``TransportOperator.truncated``."""
    return replace(ridge(problem, strength), truncate_to=problem.rank or min(problem.d_in, problem.d_out))


def reduced_rank(problem: FitProblem, strength: Strength) -> Solution:
    """The best map of the problem's rank in the metric of its output weight, see ``solvers.reduced_rank``."""
    eigen, sxy, rank = problem.eigen, problem.sxy, problem.rank or problem.d_out
    assert problem.output_weight is not None
    roots = solvers.output_root(problem.output_weight, problem.syy, problem.moments.epsilon, problem.decoder)
    weights = solvers.reduced_rank(eigen, sxy, _alpha(strength), *roots).weights(rank)
    return Solution(weights.T, min(eigen.kept_rank, problem.d_out, rank), eigen.kept_rank)


def elastic_net(problem: FitProblem, strength: Strength) -> Solution:
    """Lasso or elastic net, see ``ato.operators.elastic_net``."""
    alpha, ratio = _alpha(strength), strength.l1_ratio
    assert ratio is not None
    n, _, sxx = problem.moments.scatter(problem.source, problem.groups)
    syy = problem.moments.variation(problem.target, problem.groups)[2]
    pair = GramProblem.of_source(n, sxx).with_target(n, problem.sxy, syy)
    # Down the path from the largest alpha: each start is close to its solution.
    path = problem.strengths.alphas[problem.strengths.alphas >= alpha]
    *_, (_, solution) = elastic_net_path(pair, path, ratio)
    matrix = solution.weights.T
    return Solution(matrix, min(matrix.shape), duality_gap=float(solution.gaps.max()))


def given(problem: FitProblem, strength: Strength) -> Solution:
    """T as it was measured, with the bias of the train means, b = mean y - T mean x."""
    assert problem.matrix is not None  # checked before
    return Solution(problem.matrix, None)


def identity(problem: FitProblem, strength: Strength) -> Solution:
    """T = I, b = 0."""
    return Solution(np.eye(problem.d_in), None, bias=np.zeros(problem.d_out))


def shifted_identity(problem: FitProblem, strength: Strength) -> Solution:
    """T = I, with a bias."""
    return Solution(np.eye(problem.d_in), None)


def mean(problem: FitProblem, strength: Strength) -> Solution:
    """T = 0, with a bias."""
    return Solution(np.zeros((problem.d_out, problem.d_in)), 0)


def _alpha(strength: Strength) -> float:
    assert strength.alpha is not None
    return strength.alpha
