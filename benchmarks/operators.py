"""Cross-validated ridge from raw rows: this platform against scikit-learn's GridSearchCV, in one run.

    python benchmarks/operators.py [--quick]

Both sides get the same float32 rows, 8 strengths, 5 consecutive folds and all cores, and end with the operator refitted
on all rows. scikit-learn works in the precision it is given, so it is timed in float32; its scores in float64, which it
is timed in as well, are what ours are compared with. Prints seconds, ratios and the largest difference of a score.
"""

import argparse
import os
import sys
import time

import numpy as np

from ato.fitting import STUDY_ALPHAS, fit_operator

LARGEST_DIFFERENCE = 1e-6


def residual_like_rows(n: int, d: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Source and target rows [n, d] with a decaying spectrum, large means and three massive dimensions."""
    rng = np.random.default_rng(seed)
    mixing = np.linalg.qr(rng.standard_normal((d, d)))[0] * (np.arange(1, d + 1) ** -0.5)[:, None]
    x = rng.standard_normal((n, d), dtype=np.float32) @ mixing.astype(np.float32) * 10
    update = rng.standard_normal((d, d), dtype=np.float32) / d**0.5
    y = x + np.maximum(x @ update, 0) + rng.standard_normal((n, d), dtype=np.float32) * 0.3
    scale = np.ones(d, dtype=np.float32)
    scale[:3] = 50
    mean = rng.standard_normal(d, dtype=np.float32) * 3
    return x * scale + mean, y * scale + mean


def compare(n: int, d: int) -> float:
    """Print one comparison; returns the largest difference of a score."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV, KFold

    x, y = residual_like_rows(n, d)

    def searched(dtype: type) -> tuple[float, np.ndarray, float]:
        a: np.ndarray = x.astype(dtype)
        b: np.ndarray = y.astype(dtype)
        search = GridSearchCV(Ridge(), {"alpha": list(STUDY_ALPHAS)}, cv=KFold(5), scoring="r2", n_jobs=-1, refit=True)
        started = time.perf_counter()
        search.fit(a, b)
        seconds = time.perf_counter() - started
        scores = np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(5)], axis=1)
        return seconds, scores, search.best_params_["alpha"]

    times = []
    for _ in range(3):
        started = time.perf_counter()
        fit = fit_operator(x, y, alphas=STUDY_ALPHAS, cv_folds=5)
        times.append(time.perf_counter() - started)
    ours = sorted(times)[1]
    single, single_scores, _ = searched(np.float32)
    double, scores, alpha = searched(np.float64)
    assert fit.cv_scores is not None
    difference = float(np.abs(fit.cv_scores - scores).max())
    print(f"n = {n:,}, d = {d}: ours {ours:.2f} s (first {times[0]:.2f} s, median of 3)")
    print(f"  scikit-learn float32 {single:.1f} s, {single / ours:.1f}x; float64 {double:.1f} s, {double / ours:.1f}x")
    print(
        f"  largest difference of a held-out R2 from float64: ours {difference:.1e}, "
        f"scikit-learn float32 {np.abs(single_scores - scores).max():.1e}; strength {fit.alpha:g} and {alpha:g}"
    )
    return difference


def start_workers() -> None:
    """Let joblib start its processes and import scikit-learn in them, which is nobody's arithmetic."""
    from sklearn.linear_model import Ridge
    from sklearn.model_selection import GridSearchCV

    x, y = residual_like_rows(500, 8)
    GridSearchCV(Ridge(), {"alpha": list(STUDY_ALPHAS)}, cv=5, n_jobs=-1).fit(x, y)
    fit_operator(x, y)


def main() -> int:
    """Run the comparisons; exit status 1 when a score differs by more than it may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes, a few seconds")
    sizes = [(4_000, 128), (6_000, 320)] if parser.parse_args().quick else [(20_000, 576), (100_000, 576)]
    print(f"cross-validated ridge, 8 strengths x 5 folds, {os.cpu_count()} cores, float32 rows")
    start_workers()
    differences = [compare(n, d) for n, d in sizes]
    return int(max(differences) > LARGEST_DIFFERENCE)


if __name__ == "__main__":
    sys.exit(main())
