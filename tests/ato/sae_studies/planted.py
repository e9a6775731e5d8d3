"""Residual blocks and SAEs with planted features, for studies."""

import numpy as np
import torch

from ato.residuals import ResidualBlock
from ato.saes import SparseAutoencoder

LAYER = 3


def block_of(x: np.ndarray, token_id: np.ndarray | None = None, document: np.ndarray | None = None, **others):
    """A block of residuals [n, d] at ``LAYER``; ``others`` are those of more layers, by ``layer_N``."""
    n = len(x)
    residuals = {LAYER: x} | {int(name.removeprefix("layer_")): rows for name, rows in others.items()}
    zeros = np.zeros(n, dtype=np.int64)
    return ResidualBlock(
        {layer: torch.tensor(rows, dtype=torch.float32) for layer, rows in residuals.items()},
        zeros,
        np.arange(n, dtype=np.int32),
        (zeros if token_id is None else token_id).astype(np.int32),
        np.arange(n) // 10 if document is None else document,
        zeros.astype(np.int16),
    )


def parts(block: ResidualBlock) -> list[ResidualBlock]:
    """Its rows in three runs of different lengths."""
    place = np.arange(block.n)
    cuts = (place < block.n // 5, (place >= block.n // 5) & (place < block.n // 2), place >= block.n // 2)
    return [block.select(mask) for mask in cuts]


def relu_sae(rows: np.ndarray, b_enc: float | np.ndarray = -0.5) -> SparseAutoencoder:
    """A standard SAE that reads and writes the same directions [d_sae, d]."""
    rows = torch.tensor(np.asarray(rows), dtype=torch.float32)
    bias = torch.tensor(np.broadcast_to(b_enc, len(rows)).copy(), dtype=torch.float32)
    return SparseAutoencoder("standard", rows.T.contiguous(), bias, rows, torch.zeros(rows.shape[1]))


def random_topk(seed: int, d: int = 8, d_sae: int = 20, k: int = 3) -> SparseAutoencoder:
    """A TopK SAE with random weights, near one another for neighbouring seeds as in a training."""
    first, other = np.random.default_rng(0), np.random.default_rng(100 + seed)
    rows = first.normal(size=(d_sae, d)) + 0.6 * other.normal(size=(d_sae, d))
    tensors = (torch.tensor(part, dtype=torch.float32) for part in (rows.T.copy(), np.zeros(d_sae), rows, np.zeros(d)))
    return SparseAutoencoder("topk", *tensors, k=k)
