"""Activations of a few chosen latents on every entity, gathered from a stream."""

from collections.abc import Sequence

import numpy as np
import torch

from ato.errors import InputError
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

_ROWS = 256
"""Residuals encoded at a time."""


class ChosenActivations:
    """Gathers the activations [n, k] of k latents of one SAE on n entities; NaN for entities not seen.

    Args:
        n: number of entities.
        latents: [k] latents; one may be chosen twice.
    """

    def __init__(self, n: int, latents: Sequence[int] | np.ndarray):
        self.latents = np.asarray(latents, dtype=np.int64).reshape(-1)
        self.values = np.full((n, len(self.latents)), np.nan, dtype=np.float32)

    def update(self, rows: np.ndarray, active: ActiveFeatures) -> "ChosenActivations":
        """Take entities into account: ``rows`` [active.n] are their places.

        Raises:
            InputError: the rows are not as many, or not from 0 to n - 1.
        """
        rows = np.asarray(rows)
        if rows.shape != (active.n,) or (active.n and not 0 <= rows.min() <= rows.max() < len(self.values)):
            raise InputError(f"rows must be [{active.n}] integers from 0 to {len(self.values) - 1}")
        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        value = active.value.cpu().numpy()
        self.values[rows] = 0.0
        for column, latent in enumerate(self.latents):
            here = feature == latent
            self.values[rows[token[here]], column] = value[here]
        return self


def activations_of(sae: SparseAutoencoder, x: torch.Tensor, latents: Sequence[int] | np.ndarray) -> np.ndarray:
    """Activations [n, k] float32 of some latents on residuals x [n, d_in], by the SAE's whole encoder.

    All latents are encoded, since those of a TopK SAE compete; a few rows at a time.
    """
    gathered = ChosenActivations(len(x), latents)
    for start in range(0, len(x), _ROWS):
        part = x[start : start + _ROWS]
        gathered.update(np.arange(start, start + len(part)), sae.active(part))
    return gathered.values
