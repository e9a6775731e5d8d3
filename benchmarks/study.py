"""The slow parts of the study against the plain way of doing them, in one run: ratios, differences, memory.

    python benchmarks/study.py [--quick]

1. Per-feature scores of one operator from encoded tokens, our intervals included, against a loop over features that
   makes none. The loop projects all tokens on each decoder row and then takes the active ones; a second loop takes the
   active ones first. Encoding costs both sides the same and is timed apart.
2. Elastic net, strengths x shares x folds, against scikit-learn's ``GridSearchCV`` at an equal tolerance.
3. Causal perplexity against the whole model once per intervention and sequence (``benchmarks/causal.py``).
4. Peak memory of the first at 50,000 and at 500,000 tokens that stream past in blocks.
"""

import argparse
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from causal import compare as compare_causal
from operators import residual_like_rows

from ato.elastic_net import SCORE_TOLERANCE
from ato.feature_transport import FeatureTransport
from ato.fitting import fit_operator
from ato.operators import TransportOperator
from ato.residuals import ResidualBlock, share_pass
from ato.saes import ActiveFeatures, SharedEncoding, SparseAutoencoder
from ato.strengths import L1_ALPHAS, L1_RATIOS

SOURCE, TARGET = 0, 1
BLOCK_ROWS = 2048
DOCUMENT_ROWS = 128
METRICS = ("r2", "pearson", "mse", "calibration", "rms_ratio", "mean_abs_ratio", "mean_ratio")
LARGEST_DIFFERENCE = {"features": 1e-3, "elastic net scores": 1e-4, "elastic net coefficients": 1e-3}


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    label: str
    ours_s: float
    peer_s: float
    target: float | None = None

    def __str__(self) -> str:
        aim = "" if self.target is None else f"   aim {self.target:g}x"
        return f"{self.label:<74} {self.ours_s:>9.2f} {self.peer_s:>9.2f} {self.peer_s / self.ours_s:>8.1f}x{aim}"


@dataclass(frozen=True)
class Sizes:
    """What is scored: tokens, width and features."""

    n: int
    d: int
    width: int
    k: int = 32

    def sae(self, y: np.ndarray) -> SparseAutoencoder:
        """A TopK SAE of random directions about the mean of y."""
        rows = torch.nn.functional.normalize(
            torch.randn(self.width, self.d, generator=torch.Generator().manual_seed(0))
        )
        return SparseAutoencoder(
            "topk", rows.T.contiguous(), torch.zeros(self.width), rows, torch.from_numpy(y.mean(0)), k=self.k
        )


class Stream:
    """A residual source that makes every block when it is asked for, from a few rows drawn once."""

    layers = (SOURCE, TARGET)

    def __init__(self, x: np.ndarray, y: np.ndarray, n: int):
        self.d_model, self._x, self._y, self._n = x.shape[1], x, y, n

    def blocks(
        self, layers: Sequence[int] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of ``BLOCK_ROWS`` test tokens, in documents of ``DOCUMENT_ROWS``."""
        for start in range(0, self._n, BLOCK_ROWS):
            token = np.arange(start, min(start + BLOCK_ROWS, self._n))
            rows = token % len(self._x)
            residuals = {SOURCE: torch.from_numpy(self._x[rows]), TARGET: torch.from_numpy(self._y[rows])}
            document, position = np.divmod(token, DOCUMENT_ROWS)
            zeros = np.zeros(len(token))
            yield ResidualBlock(
                residuals, document, position.astype(np.int32), zeros.astype(np.int32), document, zeros.astype(np.int16)
            )


def score_features(
    source: Stream, sae: SparseAutoencoder, operator: TransportOperator, encoded: list[ActiveFeatures]
) -> dict[str, np.ndarray]:
    """Columns of ``feature_transport`` from one pass over tokens encoded before."""
    scores = FeatureTransport(sae, TARGET, {"ridge": (SOURCE, operator)})
    for block, active in zip(source.blocks(), encoded, strict=True):
        scores.update(block, active)
    return scores.result(min_active=2)["ridge"]


def loop_over_features(
    x: np.ndarray,
    y: np.ndarray,
    activations: np.ndarray,
    directions: np.ndarray,
    operator: TransportOperator,
    *,
    mask_first: bool,
) -> dict[str, np.ndarray]:
    """The same scores feature by feature, without intervals, on materialised arrays."""
    y_hat = x @ operator.matrix.T.astype(np.float32) + operator.bias.astype(np.float32)
    columns = {name: np.full(len(directions), np.nan) for name in METRICS}
    for feature, u in enumerate(directions):
        active = activations[:, feature] > 1e-6
        if active.sum() < 2:
            continue
        if mask_first:
            a, p = (y[active] @ u).astype(np.float64), (y_hat[active] @ u).astype(np.float64)
        else:
            a, p = (y @ u)[active].astype(np.float64), (y_hat @ u)[active].astype(np.float64)
        error = ((a - p) ** 2).sum()
        scores = (
            1 - error / ((a - a.mean()) ** 2).sum(),
            np.corrcoef(a, p)[0, 1],
            error / len(a),
            (a * p).sum() / np.sqrt((a * a).sum() * (p * p).sum()),
            np.sqrt((p * p).mean() / (a * a).mean()),
            np.abs(p).mean() / np.abs(a).mean(),
            p.mean() / a.mean(),
        )
        for name, score in zip(METRICS, scores):
            columns[name][feature] = score
    return columns


def seconds(work: Callable[[], dict[str, np.ndarray]]) -> tuple[float, dict[str, np.ndarray]]:
    """Wall time of one call, and what it returned."""
    started = time.perf_counter()
    found = work()
    return time.perf_counter() - started, found


def compare_features(sizes: Sizes) -> tuple[list[Row], float]:
    """Scores of one operator on every feature: three rows and the largest relative difference of a score."""
    x, y = residual_like_rows(sizes.n, sizes.d)
    sae = sizes.sae(y)
    operator = fit_operator(x[: 4 * sizes.d], y[: 4 * sizes.d], alphas=[100.0]).operator
    source = Stream(x, y, sizes.n)
    started = time.perf_counter()
    encoded = [sae.active(block.residuals[TARGET]) for block in source.blocks()]
    encoding = time.perf_counter() - started
    runs = sorted(
        (seconds(lambda: score_features(source, sae, operator, encoded)) for _ in range(3)), key=lambda r: r[0]
    )
    ours, found = runs[1]
    arrays = x, y, sae.encode(torch.from_numpy(y)).numpy(), sae.decoder_directions.numpy(), operator
    dense, expected = seconds(lambda: loop_over_features(*arrays, mask_first=False))
    masked, _ = seconds(lambda: loop_over_features(*arrays, mask_first=True))
    difference = max(
        float(np.nanmax(np.abs(found[name] - expected[name]) / np.maximum(np.abs(expected[name]), 1)))
        for name in METRICS
        if name != "mse"
    )
    what = f"{sizes.width:,} features x {sizes.n:,} tokens, d = {sizes.d}"
    return [
        Row(f"per-feature scores, {what}", ours, dense, 50),
        Row("  the same against a loop that takes the active tokens first", ours, masked),
        Row("  encoding of the tokens", encoding, encoding),
    ], difference


def compare_elastic_net(n: int, d: int) -> tuple[list[Row], float, float]:
    """Cross-validated elastic net: a row, the largest difference of a held-out R2 and of a coefficient."""
    from sklearn.linear_model import ElasticNet
    from sklearn.model_selection import GridSearchCV, KFold

    x, y = (rows.astype(np.float64) for rows in residual_like_rows(n, d))
    started = time.perf_counter()
    fit = fit_operator(x, y, "elasticnet", cv_folds=5)
    ours = time.perf_counter() - started
    # Residuals are poor in small directions: scikit-learn needs many iterations for the weakest penalties.
    model = ElasticNet(tol=SCORE_TOLERANCE, max_iter=100_000)
    search = GridSearchCV(
        model, {"alpha": L1_ALPHAS, "l1_ratio": L1_RATIOS}, cv=KFold(5), scoring="r2", n_jobs=torch.get_num_threads()
    )
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        search.fit(x, y)
    peer = time.perf_counter() - started
    scores = np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(5)], axis=1)
    assert fit.cv_scores is not None
    coefficients = search.best_estimator_.coef_
    apart = float(np.abs(fit.operator.matrix - coefficients).max() / np.abs(coefficients).max())
    grid = f"{len(L1_ALPHAS)} x {len(L1_RATIOS)} grid x 5 folds"
    label = f"elastic net, {grid}, {n:,} tokens, d = {d}, against scikit-learn"
    return [Row(label, ours, peer)], float(np.abs(fit.cv_scores - scores).max()), apart


def peak_memory(sizes: Sizes) -> float:
    """Peak resident memory in MiB of a fresh process that scores this many tokens."""
    arguments = [sys.executable, __file__, "--memory", *(str(size) for size in (sizes.n, sizes.d, sizes.width))]
    done = subprocess.run(arguments, capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1])


def score_and_print_memory(sizes: Sizes) -> None:
    """What ``peak_memory`` runs."""
    x, y = residual_like_rows(4 * BLOCK_ROWS, sizes.d)
    operator = fit_operator(x, y, alphas=[100.0]).operator
    sae = sizes.sae(y)
    scores = FeatureTransport(sae, TARGET, {"ridge": (SOURCE, operator)})
    share_pass(Stream(x, y, sizes.n), [SharedEncoding(sae, TARGET, [scores])])
    scores.result()
    # Not getrusage: its peak includes that of the process this one was started from.
    status = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
    print(int(status["VmHWM"].split()[0]) / 1024)


def main() -> int:
    """Run the comparisons; exit status 1 when results differ by more than they may."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sizes, a few seconds")
    parser.add_argument("--memory", type=int, nargs=3, metavar=("TOKENS", "D", "FEATURES"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.memory:
        score_and_print_memory(Sizes(*arguments.memory))
        return 0
    quick = arguments.quick
    sizes = Sizes(6_000, 96, 200, 16) if quick else Sizes(50_000, 576, 2_000)
    print(f"the study's slow parts, {torch.get_num_threads()} threads of {os.cpu_count()} cores")
    print(f"{'':<74} {'ours, s':>9} {'plain, s':>9} {'ratio':>9}")
    differences = {}
    rows, differences["features"] = compare_features(sizes)
    print(*rows, sep="\n", flush=True)
    rows, differences["elastic net scores"], differences["elastic net coefficients"] = compare_elastic_net(
        *((1_500, 12) if quick else (6_000, 64))
    )
    print(*rows, sep="\n", flush=True)
    found = compare_causal(quick)
    print(Row(found["label"], found["ours_s"], found["peer_s"], found["target"]), flush=True)
    print("largest differences: " + ", ".join(f"{name} {value:.1e}" for name, value in differences.items()))
    many = 10 * sizes.n
    memory = {n: peak_memory(Sizes(n, sizes.d, sizes.width)) for n in (sizes.n, many)}
    print(
        "peak memory of per-feature scores: " + ", ".join(f"{n:,} tokens {mib:,.0f} MiB" for n, mib in memory.items())
    )
    return int(any(value > LARGEST_DIFFERENCE[name] for name, value in differences.items()))


if __name__ == "__main__":
    sys.exit(main())
