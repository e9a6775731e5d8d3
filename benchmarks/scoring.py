"""Scores of SAE features: per feature against plain loops, encoding, intervals, more operators, and memory.

Per-feature scores of one operator are made from encoded tokens, intervals by document included, and
compared with a loop over features that makes no intervals and projects all tokens on each decoder row.
"""

import sys
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.evaluation.feature_scores import FeatureScores
from ato.evaluation.feature_transport import FeatureTransport
from ato.numerics.devices import choose_device
from ato.numerics.intervals import document_interval
from ato.operators import TransportOperator
from ato.operators.fitting import fit_operator
from ato.residuals import Layer, ResidualBlock, run_pass
from ato.saes import ActiveFeatures, SharedEncoding, SparseAutoencoder
from benchmarks.measurement import Measurement, growth, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.timing import median_seconds, peak_memory, seconds, side_by_side

SOURCE, TARGET = 0, 1
BLOCK_ROWS = 2048
DOCUMENT_ROWS = 128
METRICS = ("r2", "pearson", "mse", "calibration", "rms_ratio", "mean_abs_ratio", "mean_ratio")
LARGEST_DIFFERENCE = 1e-3
"""Of a score of at least 30 tokens, relative: both sides project in float32."""
N_BOOT = 1000


@dataclass(frozen=True)
class Sizes:
    """What is scored: tokens, width and features."""

    n: int
    d: int
    width: int
    k: int = 32

    def __str__(self) -> str:
        return f"{self.width:,} features x {self.n:,} tokens, d = {self.d}"

    def sae(self, y: np.ndarray) -> SparseAutoencoder:
        """A TopK SAE of random directions about the mean of y."""
        rows = torch.nn.functional.normalize(
            torch.randn(self.width, self.d, generator=torch.Generator().manual_seed(0))
        )
        centre = torch.from_numpy(y.mean(0))
        return SparseAutoencoder("topk", rows.T.contiguous(), torch.zeros(self.width), rows, centre, k=self.k)


@dataclass(frozen=True)
class RatioSums:
    """Two sums a document, [documents, features], whose ratio is estimated."""

    y: np.ndarray
    n: np.ndarray


class Stream:
    """A residual source of slices of a few rows, over and over until there are n."""

    layers = (SOURCE, TARGET)

    def __init__(self, x: np.ndarray, y: np.ndarray, n: int, device: torch.device):
        self.d_model, self._n = x.shape[1], n
        self._rows = {layer: torch.from_numpy(rows).to(device) for layer, rows in ((SOURCE, x), (TARGET, y))}
        self.n_folds = 5

    def blocks(
        self, layers: Sequence[Layer] | None = None, splits: Collection[str] | None = None
    ) -> Iterator[ResidualBlock]:
        """Blocks of ``BLOCK_ROWS`` test tokens, in documents of ``DOCUMENT_ROWS``."""
        held = len(self._rows[SOURCE])
        for start in range(0, self._n, BLOCK_ROWS):
            first = start % held
            n = min(BLOCK_ROWS, self._n - start, held - first)
            document, position = np.divmod(np.arange(start, start + n), DOCUMENT_ROWS)
            zeros = np.zeros(n)
            residuals = {layer: rows[first : first + n] for layer, rows in self._rows.items()}
            yield ResidualBlock(
                residuals, document, position.astype(np.int32), zeros.astype(np.int32), document, zeros.astype(np.int16)
            )


def measure(quick: bool) -> Iterator[Measurement]:
    """All figures; the plain loop over features takes most of the time."""
    sizes = Sizes(6_000, 96, 200, 16) if quick else Sizes(50_000, 576, 2_000)
    device = choose_device("auto")
    x, y = residual_like_rows(sizes.n, sizes.d)
    sae = sizes.sae(y).to(device)
    operator = fit_operator(x[: 4 * sizes.d], y[: 4 * sizes.d], alphas=[100.0]).operator
    source = Stream(x, y, sizes.n, device)
    encoded = [sae.active(block.residuals[TARGET]) for block in source.blocks()]
    yield from _against_loops(sizes, source, sae, operator, encoded)
    yield _encoding(sizes, source, sae)
    yield _further_operators(sizes, source, sae, operator, encoded)
    yield _intervals(quick)
    many = Sizes(10 * sizes.n, sizes.d, sizes.width, sizes.k)
    few, most = peak_memory("benchmarks.scoring:score", *((s.n, s.d, s.width, s.k) for s in (sizes, many)))
    yield growth(f"peak memory of {many}", "MiB", most, f"{sizes.n:,} tokens", few, at_most=1.1)


def _against_loops(
    sizes: Sizes, source: Stream, sae: SparseAutoencoder, operator: TransportOperator, encoded: list[ActiveFeatures]
) -> Iterator[Measurement]:
    """Per-feature scores against both loops.

    Raises:
        AssertionError: scores differ by more than rounding.
    """
    operators = {"ridge": operator}
    found = score_features(source, sae, operators, encoded)["ridge"]
    ours = median_seconds(lambda: score_features(source, sae, operators, encoded))
    rows = {layer: torch.cat([block.residuals[layer] for block in source.blocks()]) for layer in source.layers}
    x, y = (rows[layer].cpu().numpy() for layer in (SOURCE, TARGET))
    arrays = x, y, sae.encode(rows[TARGET]).cpu().numpy(), sae.decoder_directions.cpu().numpy(), operator
    masked, _ = seconds(lambda: loop_over_features(*arrays, mask_first=True))
    dense, expected = seconds(lambda: loop_over_features(*arrays, mask_first=False))
    enough = found.n_active >= 30
    for name in METRICS:
        values = found.r2.value if name == "r2" else getattr(found, name)
        scale = np.maximum(np.abs(expected[name]), 1)
        apart = np.max((np.abs(values - expected[name]) / scale)[enough])
        assert apart < LARGEST_DIFFERENCE, f"{name} differs from the plain loop by {apart:.1e}"
    what = f"per-feature scores with intervals, {sizes}"
    yield speedup(
        what,
        ours,
        "the plain loop, no intervals",
        dense,
        at_least=50,
        why_missed=(
            "three dot products an active pair are half of our time and run at a sixth of the peak, one chain of additions each "
            "(measured: the same by features instead of tokens, slower as gathered products, tiled dense products or the "
            "gradient of an embedding bag); the rest are sums and samples; the loop is "
            "bound by how fast the processor reads its arrays again for each feature, and a last cache that holds them helps it"
        ),
    )
    yield speedup(what, ours, "a loop that takes active tokens first, no intervals", masked)


def score_features(
    source: Stream, sae: SparseAutoencoder, operators: dict[str, TransportOperator], encoded: list[ActiveFeatures]
) -> dict[str, FeatureScores]:
    """Scores from one pass over tokens encoded before."""
    scores = FeatureTransport(sae, TARGET, {name: (SOURCE, operator) for name, operator in operators.items()})
    for block, active in zip(source.blocks(), encoded, strict=True):
        scores.update(block, active)
    return scores.result(min_active=2)


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


def _encoding(sizes: Sizes, source: Stream, sae: SparseAutoencoder) -> Measurement:
    """Active features of all tokens against dense activations.

    Raises:
        AssertionError: other features are active.
    """
    y = torch.cat([block.residuals[TARGET] for block in source.blocks()])[: 8 * BLOCK_ROWS]
    weights = sae.W_enc, sae.b_enc, sae.b_dec

    def ours() -> None:
        for rows in y.split(BLOCK_ROWS):
            sae.active(rows)

    def dense(rows: torch.Tensor) -> torch.Tensor:
        w, b, centre = weights
        pre = (rows - centre) @ w + b
        value, feature = torch.topk(pre, sizes.k, dim=1)
        return torch.zeros_like(pre).scatter(1, feature, torch.relu(value))

    def plain() -> None:
        for rows in y.split(BLOCK_ROWS):
            dense(rows).nonzero()

    active, expected = sae.active(y[:BLOCK_ROWS]), dense(y[:BLOCK_ROWS])
    found = torch.zeros_like(expected)
    found[active.token, active.feature] = active.value
    assert torch.allclose(found, expected, rtol=1e-4, atol=1e-4), "activations differ from the dense ones"
    taken = side_by_side(ours, plain)
    return speedup(f"encoding {len(y):,} tokens to active features", taken[0], "dense encode, topk, nonzero", taken[1])


def _further_operators(
    sizes: Sizes, source: Stream, sae: SparseAutoencoder, operator: TransportOperator, encoded: list[ActiveFeatures]
) -> Measurement:
    """What one more operator costs, of seven, over a pass with one alone."""
    seven = {f"ridge {number}": operator for number in range(7)}
    more, one = side_by_side(
        lambda: score_features(source, sae, seven, encoded),
        lambda: score_features(source, sae, {"ridge": operator}, encoded),
    )
    return growth(f"a further operator, {sizes}", "s", (more - one) / 6, "the first one", one)


def _intervals(quick: bool) -> Measurement:
    """Limits of the ratio of two sums a document, per feature.

    Raises:
        AssertionError: limits differ from SciPy's by more than their own noise.
    """
    from scipy.stats import bootstrap

    n_documents, n_features, n_peer = 256, 2_000, 2 if quick else 20
    rng = np.random.default_rng(0)
    size = rng.uniform(50, 150, size=(n_documents, n_features))
    sums = RatioSums(size * rng.normal(2, 1, size=size.shape), size)

    def ratio(y: np.ndarray, n: np.ndarray, axis: int = -1) -> np.ndarray:
        return y.sum(axis) / n.sum(axis)

    def peer() -> np.ndarray:
        found = [
            bootstrap(
                (sums.y[:, f], sums.n[:, f]),
                ratio,
                paired=True,
                vectorized=True,
                n_resamples=N_BOOT,
                method="percentile",
                rng=np.random.default_rng(1),
            ).confidence_interval
            for f in range(n_peer)
        ]
        return np.array(found).T

    theirs, limits = seconds(peer)
    ours = median_seconds(lambda: document_interval(sums, lambda s: s.y / s.n, sums.n))
    found = document_interval(sums, lambda s: s.y / s.n, sums.n)
    apart = np.abs(np.stack([found.low, found.high])[:, :n_peer] - limits).max() / (limits[1] - limits[0]).min()
    assert apart < 0.2, f"limits differ from SciPy's by {apart:.2f} of the interval"
    return speedup(
        f"95 % intervals of a feature, {n_documents} documents",
        ours / n_features,
        f"scipy.stats.bootstrap, {N_BOOT} resamples",
        theirs / n_peer,
    )


def score(n: str, d: str, width: str, k: str) -> None:
    """Score a stream of n tokens: the work whose peak memory is measured."""
    sizes = Sizes(int(n), int(d), int(width), int(k))
    device = choose_device("auto")
    x, y = residual_like_rows(4 * BLOCK_ROWS, sizes.d)
    operator = fit_operator(x, y, alphas=[100.0]).operator
    sae = sizes.sae(y).to(device)
    scores = FeatureTransport(sae, TARGET, {"ridge": (SOURCE, operator)})
    run_pass(Stream(x, y, sizes.n, device), [SharedEncoding(sae, TARGET, [scores])])
    scores.result()


if __name__ == "__main__":
    sys.exit(run("scoring", measure, __doc__))
