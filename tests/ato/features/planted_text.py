"""A small collection with random residuals and an SAE over it, and the dense activations as the oracle."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.residuals import MemorySource, ResidualBlock
from ato.saes import SparseAutoencoder

LAYER, D_SAE, D, LENGTH, N_FOLDS = 2, 24, 6, 30, 2
SILENT = 5
N_SEQUENCES = 480
"""Two a document."""


@dataclass(frozen=True, eq=False)
class PlantedText:
    """What a collection hands out: some tokens are left out of it."""

    sae: SparseAutoencoder
    block: ResidualBlock
    lengths: dict[int, int]
    topics: dict[int, str]
    """By document; documents divisible by 10 have none."""
    dense: np.ndarray
    """[sequences, LENGTH, D_SAE] float32; NaN where a token was left out."""

    def source(self, rows: int = 257) -> MemorySource:
        """Its tokens in blocks."""
        b = self.block
        keys = {"document": b.document, "group": b.group, "sequence_id": b.sequence_id, "position": b.position}
        return MemorySource(b.residuals, n_folds=N_FOLDS, block_rows=rows, **keys)

    def parts(self, n: int) -> list[ResidualBlock]:
        """Its tokens in blocks, in an order of no meaning."""
        shuffled = np.random.default_rng(2).permutation(self.block.n)
        return [self.block.select(np.isin(np.arange(self.block.n), rows)) for rows in np.array_split(shuffled, n)]

    def split_of(self, document: int) -> str:
        """Split of a document."""
        return ("train", "train", "val", "test")[self.block.group[self.block.document == document][0]]


def planted_text(seed: int = 0) -> PlantedText:
    """Sparse random activations: each token has up to two of the features, and feature SILENT never fires."""
    rng = np.random.default_rng(seed)
    shapes = ((D, D_SAE), D_SAE, (D_SAE, D), D)
    weights = [torch.tensor(rng.normal(size=shape), dtype=torch.float32) for shape in shapes]
    weights[1] -= 2.5
    weights[1][SILENT] = -1e6
    sae = SparseAutoencoder("topk", *weights, k=2)
    n = N_SEQUENCES * LENGTH
    sequence, position = np.arange(n) // LENGTH, (np.arange(n) % LENGTH).astype(np.int32)
    document = sequence // 2
    x = torch.tensor(rng.normal(size=(n, D)), dtype=torch.float32)
    group = np.array([0, 1, 2, 3, 3])[document % 5].astype(np.int16)
    everything = ResidualBlock({LAYER: x}, sequence, position, position, document, group)
    kept = (position > 0) & (rng.random(n) > 0.01)  # as collections leave out the first position and some outliers
    dense = sae.encode(x).numpy()
    dense[~kept] = np.nan
    topics = {int(d): ("law", "music", "physics")[d % 3] for d in np.unique(document) if d % 10}
    lengths = dict.fromkeys(range(N_SEQUENCES), LENGTH)
    return PlantedText(sae, everything.select(kept), lengths, topics, dense.reshape(N_SEQUENCES, LENGTH, D_SAE))
