"""A planted dictionary of directions, and quick trainings on tokens made of it."""

import numpy as np
import torch

from ato.residuals import MemorySource, run_pass
from ato.saes import SparseAutoencoder
from ato.saes.quality import Reconstruction, SAEQuality
from ato.saes.training.trainer import TrainedSAE, train_sae

LAYER, D, N_DIRECTIONS, ACTIVE = 4, 16, 24, 2
QUICK = {"d_sae": 32, "k": ACTIVE, "n_tokens": 60_000, "batch_size": 256, "lr": 1e-2, "precision": "float32"}


def planted(n: int = 6000, seed: int = 0, d: int = D) -> tuple[np.ndarray, np.ndarray]:
    """Tokens [n, d] that are sums of two of 24 unit directions (rows of the second array), plus a little noise."""
    rng = np.random.default_rng(seed)
    directions = rng.normal(size=(N_DIRECTIONS, d))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    codes = np.zeros((n, N_DIRECTIONS))
    for _ in range(ACTIVE):
        codes[np.arange(n), rng.integers(N_DIRECTIONS, size=n)] = rng.uniform(1, 2, size=n)
    return codes @ directions + 0.01 * rng.normal(size=(n, d)), directions


def source_of(x: np.ndarray, **options) -> MemorySource:
    n = len(x)
    group = (np.arange(n) % 5).astype(np.int16)
    group[4::10], group[9::10] = 6, 5  # test and val
    residuals = {LAYER: torch.tensor(x, dtype=torch.float32)}
    return MemorySource(residuals, document=np.arange(n) // 100, group=group, **options)


def train(x: np.ndarray, **settings) -> TrainedSAE:
    return train_sae(source_of(x), LAYER, **(QUICK | settings))


def held_out(sae: SparseAutoencoder, x: np.ndarray) -> Reconstruction:
    quality = SAEQuality(sae, LAYER)
    run_pass(source_of(x), [quality], splits=["test"])
    return quality.result()
