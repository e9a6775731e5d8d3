"""Exact scores on held-out groups from moments, and k-fold cross-validation of ridge: no row is read again."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from ato.errors import DataError, SettingsError
from ato.moments.moments import Moments
from ato.numerics.memo import Memo
from ato.numerics.parallel import run_tasks
from ato.operators.solvers import Eigendecomposition, decompose, ridge_errors
from ato.residuals.position_policies import Layer


@dataclass(frozen=True)
class HeldOutRows:
    """What held-out groups, such as one fold, say about the source layer alone; shared by all targets."""

    train: tuple[str, ...]
    """Groups fitted on."""
    test: tuple[str, ...]
    """Groups held out."""
    n_test: int
    shift: np.ndarray
    """[d_in] test mean minus train mean"""
    sxx_test: np.ndarray
    """[d_in, d_in] about the train mean"""

    @classmethod
    def of(cls, moments: Moments, source: Layer, train: tuple[str, ...], test: tuple[str, ...]) -> "HeldOutRows":
        """From moments. Raises DataError where either side has no rows."""
        _, mean, _ = moments.variation(source, train)
        n_test, mean_test, sxx_test = moments.scatter(source, test)
        shift = mean_test - mean
        sxx_test += n_test * np.outer(shift, shift)
        return cls(train, test, n_test, shift, sxx_test)


@dataclass(frozen=True)
class HeldOutTarget:
    """What is needed to score maps of one pair on held-out rows, all about the train means."""

    n_train: int
    sxy: np.ndarray
    """[d_in, d_out] of the train groups"""
    syy: np.ndarray
    """[d_out] of the train groups"""
    sxy_test: np.ndarray
    """[d_in, d_out]"""
    syy_test: np.ndarray
    """[d_out]"""
    weights: np.ndarray
    """[d_out] 1 / SST about the test mean, 0 where that is constant"""
    constant_score: int
    """Sum of the scores of the constant dimensions."""

    @classmethod
    def of(cls, moments: Moments, rows: HeldOutRows, source: Layer, target: int) -> "HeldOutTarget":
        """From moments. Raises LayerError where they lack the pair."""
        sxy, sxy_test = moments.cross(source, target, rows.train), moments.cross(source, target, rows.test)
        n_train, mean, variation = moments.variation(target, rows.train)
        _, mean_test, sst = moments.variation(target, rows.test)
        shift = mean_test - mean
        sxy_test += np.outer(rows.n_test * rows.shift, shift)
        syy_test = sst + rows.n_test * shift**2
        # Rounding can leave a trace of variation where there is none.
        trace = 1e-28 * (n_train + rows.n_test) * mean**2
        constant = sst <= np.maximum(8 * moments.epsilon * rows.n_test * shift**2, trace)
        exact = constant & (variation + syy_test <= trace)
        weights = np.divide(1.0, sst, where=~constant, out=np.zeros_like(sst))
        return cls(n_train, sxy, variation, sxy_test, syy_test, weights, int(np.count_nonzero(exact)))

    def r2(self, errors: np.ndarray) -> np.ndarray:
        """R2, uniform average over dimensions, from weighted sums of squared errors of any shape."""
        return (np.count_nonzero(self.weights) + self.constant_score - errors) / len(self.weights)

    def r2_of(self, rows: HeldOutRows, weights: np.ndarray) -> float:
        """R2 of one map B [d_in, d_out] with the intercept mean_y - mean_x B of train."""
        quadratic = np.einsum("ij,ij->j", weights, rows.sxx_test @ weights - 2 * self.sxy_test)
        return float(self.r2(self.weights @ (self.syy_test + quadratic)))


@dataclass(frozen=True)
class RidgeRows:
    """Held-out rows with the eigendecomposition that ridge needs at every strength."""

    rows: HeldOutRows
    eigen: Eigendecomposition
    """of Sxx on train"""
    rotated: np.ndarray
    """[k, k] Sxx of the test rows in the eigenbasis"""

    @classmethod
    def of(cls, moments: Moments, source: Layer, train: tuple[str, ...], test: tuple[str, ...]) -> "RidgeRows":
        """From moments. Raises DataError where either side has no rows."""
        rows = HeldOutRows.of(moments, source, train, test)
        eigen = decompose(moments.scatter(source, train)[2], moments.epsilon)
        return cls(rows, eigen, eigen.vectors.T @ rows.sxx_test @ eigen.vectors)

    def r2(
        self, moments: Moments, source: Layer, target: int, alphas: np.ndarray, *, of_update: bool = False
    ) -> np.ndarray:
        """R2 [alphas] of ridge fitted on the train groups, on the test groups."""
        held_out = HeldOutTarget.of(moments, self.rows, source, target)
        sxy, sxy_test, syy_test = held_out.sxy, held_out.sxy_test, held_out.syy_test
        if of_update:
            sxy = sxy - moments.scatter(source, self.rows.train)[2]
            syy_test = syy_test - 2 * sxy_test.diagonal() + self.rows.sxx_test.diagonal()
            sxy_test = sxy_test - self.rows.sxx_test
        rotated_xy = self.eigen.vectors.T @ sxy_test
        errors = ridge_errors(self.eigen, sxy, self.rotated, rotated_xy, syy_test, held_out.weights, alphas)
        return held_out.r2(errors)


_FOLDS: Memo[Layer, list[RidgeRows]] = Memo(capacity=1)
"""Source -> its train folds held out, one after another, for all targets of the latest source."""
_TRAIN: Memo[Layer, Eigendecomposition] = Memo(capacity=1)


def contiguous_folds(n: int, n_folds: int) -> np.ndarray:
    """Fold number of each row [n], as scikit-learn's unshuffled ``KFold``.

    Raises:
        SettingsError: fewer than two folds, or more folds than rows.
    """
    if not 2 <= n_folds <= n:
        raise SettingsError(f"cv_folds={n_folds} is invalid for {n} rows", cure=f"choose 2 to {max(n, 2)}")
    sizes = np.full(n_folds, n // n_folds)
    sizes[: n % n_folds] += 1
    return np.repeat(np.arange(n_folds), sizes)


def document_folds(documents: np.ndarray, n_folds: int) -> np.ndarray:
    """Fold number of each row [n] with no document in two folds and folds of even size.

    Documents go, largest first, to the fold that has the fewest rows (scikit-learn's ``GroupKFold``); the order of the
    rows does not matter.

    Raises:
        SettingsError: fewer than two folds, or more folds than documents.
    """
    names, number, sizes = np.unique(documents, return_inverse=True, return_counts=True)
    if not 2 <= n_folds <= len(names):
        cure = f"choose 2 to {max(len(names), 2)}"
        raise SettingsError(f"cv_folds={n_folds} is invalid for {len(names)} documents", cure=cure)
    filled = np.zeros(n_folds, dtype=np.int64)
    fold_of = np.zeros(len(names), dtype=np.int64)
    for document in np.argsort(sizes)[::-1]:
        fold_of[document] = np.argmin(filled)
        filled[fold_of[document]] += sizes[document]
    return fold_of[number]


def cross_validated_r2(
    moments: Moments, source: Layer, target: int, alphas: np.ndarray, *, of_update: bool = False
) -> np.ndarray:
    """R2 of ridge on each held-out train fold, at every strength: [alphas, folds with rows].

    Equal to scikit-learn's ``GridSearchCV(Ridge(), scoring="r2")`` on the same folds: R2 is the uniform average over
    target dimensions of 1 - SSE / SST, SST about the held-out fold's own mean. As there, a dimension that is constant
    on the held-out fold scores 1 when it is predicted exactly (it is constant on train too) and 0 otherwise.

    Args:
        moments: with at least two train folds that have rows.
        source, target: a pair of the moments.
        alphas: strengths [a].
        of_update: ridge on y - x (shrinks towards the identity); R2 is of y all the same.

    Raises:
        LayerError: no such pair.
        DataError: fewer than two train folds have rows.
    """

    def prepare() -> list[RidgeRows]:
        folds = [partial(RidgeRows.of, moments, source, *sides) for sides in fold_sides(moments)]
        # The decomposition that the refit needs is made beside those of the folds, while a core would be idle.
        tasks: list[Callable[[], Any]] = [*folds, partial(train_eigendecomposition, moments, source)]
        return run_tasks(tasks)[:-1]

    prepared = _FOLDS.get(moments, source, prepare)
    tasks = [partial(fold.r2, moments, source, target, alphas, of_update=of_update) for fold in prepared]
    return np.stack(run_tasks(tasks), axis=1)


def train_eigendecomposition(moments: Moments, source: Layer) -> Eigendecomposition:
    """Eigendecomposition of Sxx on all train folds, made once for all targets of a source."""
    train = moments.train_folds
    return _TRAIN.get(moments, source, lambda: decompose(moments.scatter(source, train)[2], moments.epsilon))


def fold_sides(moments: Moments) -> list[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Groups fitted on and groups held out, for each train fold that has rows.

    Raises:
        DataError: fewer than two train folds have rows.
    """
    folds = moments.train_folds
    if len(folds) < 2:
        raise DataError(
            "cross-validation needs rows in at least two train folds",
            where=f"rows in {list(folds)}",
            cure="collect more documents or pass a single alpha",
        )
    return [(tuple(name for name in folds if name != held_out), (held_out,)) for held_out in folds]
