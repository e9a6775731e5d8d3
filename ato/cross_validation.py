"""Exact k-fold cross-validation of ridge from fold moments: no row is read again, no strength is solved for."""

from dataclasses import dataclass
from functools import partial

import numpy as np

from ato.errors import DataError, SettingsError
from ato.moments import Moments
from ato.parallel import run_all
from ato.solvers import Spectrum, decompose, ridge_errors


@dataclass(frozen=True)
class _SourceFold:
    """What one fold needs of the source layer alone; shared by all targets."""

    train: tuple[str, ...]
    test: str
    n_test: int
    shift: np.ndarray
    """[d_in] test mean minus train mean"""
    spectrum: Spectrum
    """of Sxx on train"""
    sxx_test: np.ndarray
    """[d_in, d_in] about the train mean"""
    rotated: np.ndarray
    """[k, k] the same in the eigenbasis"""


def contiguous_folds(n: int, n_folds: int) -> np.ndarray:
    """Fold number of each row [n], as scikit-learn's unshuffled ``KFold``.

    Raises:
        SettingsError: fewer than two folds, or more folds than rows.
    """
    if not 2 <= n_folds <= n:
        raise SettingsError(f"cv_folds={n_folds} is impossible with {n} rows", cure=f"choose 2 to {max(n, 2)}")
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
        raise SettingsError(f"cv_folds={n_folds} is impossible with {len(names)} documents", cure=cure)
    filled = np.zeros(n_folds, dtype=np.int64)
    fold_of = np.zeros(len(names), dtype=np.int64)
    for document in np.argsort(sizes)[::-1]:
        fold_of[document] = np.argmin(filled)
        filled[fold_of[document]] += sizes[document]
    return fold_of[number]


def cross_validated_r2(
    moments: Moments, source: int, target: int, alphas: np.ndarray, *, of_update: bool = False
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
    folds = moments.train_folds
    if len(folds) < 2:
        raise DataError(
            "cross-validation needs rows in two train folds at least",
            where=f"rows in {list(folds)}",
            cure="collect more documents or give a single alpha",
        )
    prepared = moments.derived.get(
        ("folds", source), lambda: run_all([partial(_source_fold, moments, source, fold) for fold in folds])
    )
    score = partial(_fold_r2, moments, source=source, target=target, alphas=alphas, of_update=of_update)
    return np.stack(run_all([partial(score, fold) for fold in prepared]), axis=1)


def _source_fold(moments: Moments, source: int, test: str) -> _SourceFold:
    train = tuple(name for name in moments.train_folds if name != test)
    _, mean, sxx = moments.scatter(source, train)
    n_test, mean_test, sxx_test = moments.scatter(source, (test,))
    shift = mean_test - mean
    sxx_test += n_test * np.outer(shift, shift)
    spectrum = decompose(sxx, moments.epsilon)
    rotated = spectrum.vectors.T @ sxx_test @ spectrum.vectors
    return _SourceFold(train, test, n_test, shift, spectrum, sxx_test, rotated)


def _fold_r2(
    moments: Moments, fold: _SourceFold, source: int, target: int, alphas: np.ndarray, of_update: bool
) -> np.ndarray:
    """R2 [alphas] on one held-out fold."""
    sxy, sxy_test = moments.cross(source, target, fold.train), moments.cross(source, target, (fold.test,))
    n_train, mean, variation = moments.variation(target, fold.train)
    _, mean_test, sst = moments.variation(target, (fold.test,))
    shift = mean_test - mean
    sxy_test += np.outer(fold.n_test * fold.shift, shift)
    syy_test = sst + fold.n_test * shift**2

    # Rounding can leave a trace of variation where there is none.
    trace = 1e-28 * (n_train + fold.n_test) * mean**2
    constant = sst <= np.maximum(8 * moments.epsilon * fold.n_test * shift**2, trace)
    exact = constant & (variation + syy_test <= trace)
    weights = np.divide(1.0, sst, where=~constant, out=np.zeros_like(sst))
    if of_update:
        sxy = sxy - moments.scatter(source, fold.train)[2]
        syy_test = syy_test - 2 * sxy_test.diagonal() + fold.sxx_test.diagonal()
        sxy_test = sxy_test - fold.sxx_test
    rotated_xy = fold.spectrum.vectors.T @ sxy_test
    errors = ridge_errors(fold.spectrum, sxy, fold.rotated, rotated_xy, syy_test, weights, alphas)
    return (np.count_nonzero(~constant) + np.count_nonzero(exact) - errors) / len(sst)
