"""Cross-validated fitting: this platform against scikit-learn's GridSearchCV, and what one more leap or strength costs.

Both sides get the same rows, consecutive folds and all cores, and end with the operator refitted on all rows.
scikit-learn works in the precision it is given: it is timed in float32; at the smaller size its scores in float64 are
what ours are compared with. Raises (exit status 1) where a held-out R2 or a coefficient differs by more than rounding.
"""

import sys
import warnings
from collections.abc import Iterator, Sequence
from functools import partial

import numpy as np
import torch

from ato.moments import Moments
from ato.numerics.devices import choose_device
from ato.operators.elastic_net import SCORE_TOLERANCE
from ato.operators.fitting import OperatorFit, fit_operator, fit_operator_from_moments
from ato.operators.methods import L1_ALPHAS, L1_RATIOS, STUDY_ALPHAS
from benchmarks.measurement import Measurement, growth, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.timing import median_seconds, seconds, side_by_side

N_FOLDS = 5
OF_FLOAT64, OF_FLOAT32, OF_ELASTIC_NET = 1e-6, 1e-3, 1e-4
"""Largest difference of a held-out R2 from scikit-learn's in float64, in float32, and from its elastic net."""
GRID = f"{len(STUDY_ALPHAS)} strengths x {N_FOLDS} folds"


def searched(x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Held-out R2 [strengths, folds] of scikit-learn's search, which also refits."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    grid = {"alpha": list(STUDY_ALPHAS)}
    search = GridSearchCV(Ridge(), grid, cv=KFold(N_FOLDS), scoring="r2", n_jobs=-1).fit(x, y)
    return scores_of(search.cv_results_)


def scores_of(results: dict[str, np.ndarray]) -> np.ndarray:
    """Held-out R2 [grid, folds] of a search."""
    return np.stack([results[f"split{fold}_test_score"] for fold in range(N_FOLDS)], axis=1)


def fitted(x: np.ndarray, y: np.ndarray) -> OperatorFit:
    """The same by ours, on the accelerator where there is one."""
    device = choose_device("auto")
    source, target = (torch.from_numpy(a).to(device) for a in (x, y))
    return fit_operator(source, target, alphas=STUDY_ALPHAS, cv_folds=N_FOLDS)


def compare(found: np.ndarray | None, expected: np.ndarray, allowed: float, what: str) -> None:
    """Raise AssertionError unless the scores are equal."""
    assert found is not None
    apart = float(np.abs(found - expected).max())
    assert apart <= allowed, f"{what}: a held-out R2 differs from scikit-learn's by {apart:.1e}"


def start_workers() -> None:
    """Let joblib start its processes and import scikit-learn in them, which is nobody's arithmetic."""
    x, y = residual_like_rows(500, 8)
    searched(x, y)
    fitted(x, y)


def ridge(n: int, d: int) -> Iterator[Measurement]:
    """One pair of n rows at the earlier aim's size, and four leaps of its source."""
    x, y = residual_like_rows(n, d)
    double = [rows.astype(np.float64) for rows in (x, y)]
    compare(fitted(x, y).cv_scores, searched(*double), OF_FLOAT64, f"ridge, n = {n:,}")
    ours = median_seconds(partial(fitted, x, y))
    peer, _ = seconds(partial(searched, x, y))
    yield speedup(f"ridge, {GRID}, n = {n:,}, d = {d}", ours, "GridSearchCV(Ridge, n_jobs=-1)", peer)
    one, two, four = side_by_side(*(partial(leaps, x, y, k) for k in (1, 2, 4)), rounds=5)
    yield speedup(f"ridge of 4 leaps of a source, n = {n:,}, d = {d}", four, "GridSearchCV, 4 x one pair", 4 * peer)
    what = f"a further leap of a fitted source, n = {n:,}, d = {d}"
    yield growth(what, "s", max(two - one, 0.0), "the first leap", one, at_most=0.5)


def leaps(x: np.ndarray, y: np.ndarray, k: int) -> list[OperatorFit]:
    """Ridge from a source to k targets, from rows: moments and solves."""
    device = choose_device("auto")
    targets = list(range(1, k + 1))
    rows = {0: torch.from_numpy(x).to(device)} | dict.fromkeys(targets, torch.from_numpy(y).to(device))
    fold = np.arange(len(x)) * N_FOLDS // len(x)
    moments = Moments([(0, target) for target in targets], n_folds=N_FOLDS, squares_only=targets)
    moments.update(rows, fold=fold)
    return [fit_operator_from_moments(moments, 0, target, alphas=STUDY_ALPHAS) for target in targets]


def many_rows(n: int, d: int) -> Iterator[Measurement]:
    """One pair of many rows."""
    x, y = residual_like_rows(n, d)
    ours = median_seconds(partial(fitted, x, y))
    peer, expected = seconds(partial(searched, x, y))
    compare(fitted(x, y).cv_scores, expected, OF_FLOAT32, f"ridge, n = {n:,}")
    what = f"ridge, {GRID}, n = {n:,}, d = {d}"
    yield speedup(what, ours, "GridSearchCV(Ridge, n_jobs=-1)", peer, at_least=25)


def strengths(n: int, d: int) -> Iterator[Measurement]:
    """What a further strength costs where the folds are decomposed."""
    x, y = residual_like_rows(n, d)
    moments = Moments([(0, 1)], n_folds=N_FOLDS).update({0: x, 1: y}, fold=np.arange(n) * N_FOLDS // n)

    def fit(alphas: Sequence[float]) -> OperatorFit:
        return fit_operator_from_moments(moments, 0, 1, alphas=alphas)

    def first() -> OperatorFit:
        moments.version += 1  # as after an update: what was derived is forgotten
        return fit(STUDY_ALPHAS)

    fit(STUDY_ALPHAS)
    few, many = side_by_side(partial(fit, STUDY_ALPHAS), partial(fit, np.geomspace(0.1, 1e4, 208).tolist()), rounds=5)
    each = max(many - few, 0.0) / 200
    one = median_seconds(first) / len(STUDY_ALPHAS)
    yield growth(f"a further strength, d = {d}", "s", each, "one of the first 8", one)


def elastic_net(n: int, d: int) -> Iterator[Measurement]:
    """Elastic net at a tolerance of scikit-learn that gives equal scores."""
    from sklearn.linear_model import ElasticNet
    from sklearn.model_selection import GridSearchCV, KFold

    x, y = (rows.astype(np.float64) for rows in residual_like_rows(n, d))
    ours, fit = seconds(lambda: fit_operator(x, y, "elasticnet", cv_folds=N_FOLDS))
    # Residuals are poor in small directions: scikit-learn needs many iterations for the weakest penalties.
    model = ElasticNet(tol=SCORE_TOLERANCE, max_iter=100_000)
    grid = {"alpha": L1_ALPHAS, "l1_ratio": L1_RATIOS}
    search = GridSearchCV(model, grid, cv=KFold(N_FOLDS), scoring="r2", n_jobs=-1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        peer, _ = seconds(lambda: search.fit(x, y))
    what = f"elastic net, {len(L1_ALPHAS)} x {len(L1_RATIOS)} grid x {N_FOLDS} folds, n = {n:,}, d = {d}"
    compare(fit.cv_scores, scores_of(search.cv_results_), OF_ELASTIC_NET, what)
    coefficients = search.best_estimator_.coef_
    apart = float(np.abs(fit.operator.matrix - coefficients).max() / np.abs(coefficients).max())
    assert apart < 1e-3, f"{what}: a coefficient differs from scikit-learn's by {apart:.1e} of the largest"
    yield speedup(what, ours, "GridSearchCV(ElasticNet, n_jobs=-1)", peer)


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures of fitting."""
    start_workers()
    d = 32 if quick else 576
    yield from ridge(2_000 if quick else 20_000, d)
    yield from many_rows(4_000 if quick else 100_000, d)
    yield from strengths(2_000 if quick else 20_000, d)
    yield from elastic_net(*((600, 6) if quick else (6_000, 64)))


if __name__ == "__main__":
    sys.exit(run("fitting", measure, __doc__))
