"""Two models compared feature by feature: differences with intervals from sums that are there, against a loop.

Both models' active tokens were scored by document, as evaluations do. The reference takes a feature's active tokens of
both models and leaves out one document after the other; it is run on a few features, and scaled.
"""

import sys
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from ato.evaluation.feature_transport import FeatureTransport
from ato.evaluation.paired_transport import PairedTransport, paired_transport
from ato.operators import TransportOperator
from ato.operators.fitting import fit_operator
from benchmarks.measurement import Measurement, plain, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.scoring import DOCUMENT_ROWS, SOURCE, TARGET, Sizes, Stream
from benchmarks.timing import seconds, side_by_side

OWN, THEIRS, TRANSFERRED = "own", "theirs", "transferred"
LARGEST_DIFFERENCE = 1e-3
"""Between differences of r2: both sides project in float32."""
MIN_ACTIVE = 30
Model = tuple[np.ndarray, np.ndarray, np.ndarray]
"""x, y [n, d] and activations [n, features]."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Seconds of the comparison alone, and of the pass over one model's tokens that it follows."""
    sizes, n_peer = (Sizes(6_000, 96, 200, 16), 5) if quick else (Sizes(25_000, 576, 2_000), 20)
    x, y = residual_like_rows(sizes.n, sizes.d)
    rng = np.random.default_rng(0)
    changed = (y + 0.2 * y.std() * rng.standard_normal(y.shape)).astype(np.float32)
    sae, n_fitted = sizes.sae(y), 4 * sizes.d
    own = fit_operator(x[:n_fitted], y[:n_fitted], alphas=[100.0]).operator
    theirs = fit_operator(x[:n_fitted], changed[:n_fitted], alphas=[100.0]).operator

    def scored(rows: np.ndarray, operators: dict[str, TransportOperator]) -> FeatureTransport:
        scores = FeatureTransport(sae, TARGET, {name: (SOURCE, operator) for name, operator in operators.items()})
        for block in Stream(x, rows, sizes.n, torch.device("cpu")).blocks():
            scores.update(block)
        return scores

    this = scored(y, {OWN: own})
    passing, other = seconds(partial(scored, changed, {THEIRS: theirs, TRANSFERRED: own}))
    compared = partial(paired_transport, this, other, operators=(OWN, THEIRS, TRANSFERRED), min_active=MIN_ACTIVE)
    models = [(x, rows, sae.encode(torch.from_numpy(rows)).numpy()) for rows in (y, changed)]
    found = compared()
    enough = np.flatnonzero(np.isfinite(found.difference.value))[:n_peer]
    loop = partial(by_loop, models, sae.decoder_directions.numpy(), (own, theirs), enough)
    agree(found, loop(), enough)
    ours, reference = side_by_side(compared, loop, rounds=1 if quick else 3)
    what = f"differences of r2 with intervals, {sizes}, two models, a feature"
    against = f"a loop that leaves each of {sizes.n // DOCUMENT_ROWS + 1} documents out ({len(enough)} features)"
    yield speedup(what, ours / sizes.width, against, reference / len(enough))
    yield plain(f"the pass over one model's tokens, two operators, {sizes}", "s", passing)


def by_loop(
    models: list[Model],
    directions: np.ndarray,
    operators: tuple[TransportOperator, TransportOperator],
    features: np.ndarray,
) -> np.ndarray:
    """[1 + documents, features] difference of r2, of all documents and without each of them."""
    predicted = [of(x).astype(np.float32) for of, (x, _, _) in zip(operators, models, strict=True)]
    document = np.arange(len(models[0][0])) // DOCUMENT_ROWS
    found = np.full((2 + document.max(), len(features)), np.nan)
    for column, feature in enumerate(features):
        u, sides = directions[feature], []
        for (_, y, activations), y_hat in zip(models, predicted, strict=True):
            active = activations[:, feature] > 1e-6
            sides.append(((y[active] @ u).astype(float), (y_hat[active] @ u).astype(float), document[active]))
        for row, left_out in enumerate([-1, *range(document.max() + 1)]):
            own, other = (_r2(a[own != left_out], p[own != left_out]) for a, p, own in sides)
            found[row, column] = other - own
    return found


def _r2(a: np.ndarray, p: np.ndarray) -> float:
    return float(1 - np.square(a - p).sum() / np.square(a - a.mean()).sum())


def agree(found: PairedTransport, expected: np.ndarray, features: np.ndarray) -> None:
    """Refuse differences that differ from the loop's, or limits that do not hold them."""
    value = found.difference.value[features]
    apart = np.abs(value - expected[0]).max()
    assert apart < LARGEST_DIFFERENCE, f"differences differ from the loop's by {apart:.1e}"
    inside = (found.difference.low[features] <= value) & (value <= found.difference.high[features])
    assert inside.all(), "a difference lies outside its limits"


if __name__ == "__main__":
    sys.exit(run("compare", measure, __doc__))
