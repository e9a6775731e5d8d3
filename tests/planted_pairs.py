"""Token sequences whose features are moved between positions in a known way."""

import numpy as np
import torch

from ato.moments import Moments
from ato.operators.fitting import fit_operator_from_moments
from ato.residuals import MemorySource, ResidualSource, run_pass
from ato.residuals.attended import Attended
from ato.residuals.pairing import PairedSource
from ato.residuals.position_policies import source_key

D, N_FOLDS, LENGTH = 6, 3, 20
PAIR = (1, 4)


def planted(n_documents=60, move=None, seed=0, k=3):
    """Sequences of 20 tokens in which layer 4 holds what layer 1 held at the positions that ``move`` names.

    Args:
        move: (rng, position) -> (source positions [k], weights [k]); None keeps x of the token itself.
    """
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(n_documents, LENGTH, D)).astype(np.float32)
    y, positions = x.copy(), np.full((n_documents, LENGTH, k), -1, dtype=np.int32)
    weights = np.zeros((n_documents, LENGTH, k), dtype=np.float32)
    for document in range(n_documents):
        for j in range(LENGTH):
            at, w = move(rng, j) if move else (np.array([j]), np.ones(1))
            y[document, j] = w / w.sum() @ x[document, at]
            positions[document, j, : len(at)], weights[document, j, : len(at)] = at, w
    rows = slice(1, None)  # position 0 is left out, as in collections
    group = np.arange(n_documents) % (N_FOLDS + 2)

    def flat(a):
        return a[:, rows].reshape(-1, *a.shape[2:])

    def each(values):
        return np.repeat(values, LENGTH - 1)

    return MemorySource(
        {1: torch.from_numpy(flat(x)), 4: torch.from_numpy(flat(y))},
        document=each(np.arange(n_documents)),
        group=each(group),
        n_folds=N_FOLDS,
        block_rows=10 * (LENGTH - 1),
        position=np.tile(np.arange(LENGTH)[rows], n_documents),
        attended={4: Attended(flat(positions), flat(weights))},
    )


def two_kept(rng, j):
    """Up to two distinct kept positions up to j, unequal weights, larger first."""
    at = rng.permutation(np.arange(1, j + 1))[:2] if j else np.array([0])
    return at, np.array([0.5, 0.2])[: len(at)]


def one_kept(rng, j):
    return np.array([rng.integers(1, j + 1) if j else 0]), np.array([0.7])


def r2(source: ResidualSource, key: int, target: int = 4) -> float:
    """Held-out uniform r2 of a linear map, the statistics in one pass."""
    moments = Moments([(key, target)], n_folds=source.n_folds)
    run_pass(source, [moments])
    operator = fit_operator_from_moments(moments, key, target, method="ridge", alphas=[1e-3, 1.0, 100.0]).operator
    blocks = list(source.blocks(splits=["test"]))
    x, y = (torch.cat([b.residuals[k] for b in blocks]).double().numpy() for k in (key, target))
    errors = y - (x @ operator.matrix.T + operator.bias)
    return float(np.mean(1 - (errors**2).sum(0) / ((y - y.mean(0)) ** 2).sum(0)))


def r2_under(source, policy: str, pair=PAIR) -> float:
    return r2(PairedSource(source, [pair], policy), source_key(*pair, policy), pair[1])


def correlated(n: int, d_in: int, d_out: int, seed: int = 0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """Rows x [n, d_in] and y [n, d_out] with correlated columns and large means; y is linear in x, plus noise."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d_in)) @ rng.standard_normal((d_in, d_in)) + 20 * rng.standard_normal(d_in)
    y = x @ rng.standard_normal((d_in, d_out)) / d_in + noise * rng.standard_normal((n, d_out)) + 7
    return x, y
