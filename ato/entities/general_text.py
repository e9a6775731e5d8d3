"""How often each latent is active on ordinary text: counts over positions drawn uniformly from a collection."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import MismatchError, SettingsError
from ato.numerics.counter_rng import uniforms
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

FIRES_BELOW = 0.02
"""The study's filter: a latent about entities is active on less than this share of ordinary positions."""


@dataclass(frozen=True)
class PositionDraw:
    """Each kept position of a collection is drawn with the same chance, by (seed, sequence, position) alone.

    Whatever the blocks and their order, the same positions are drawn.

    Raises:
        SettingsError: the share is not above 0 and at most 1.
    """

    share: float
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise SettingsError(f"cannot draw a share of {self.share:g} of the positions", cure="use 0 to 1")

    @classmethod
    def about(cls, n: int, n_positions: int, seed: int = 0) -> "PositionDraw":
        """A draw of about n of the collection's ``n_positions`` kept positions; all, if there are no more."""
        return cls(min(1.0, n / max(n_positions, 1)), seed)

    def mask(self, sequence_id: np.ndarray, position: np.ndarray) -> np.ndarray:
        """[n] bool: the tokens that are drawn."""
        return uniforms(self.seed, sequence_id, position) < self.share


class GeneralTextRate:
    """Accumulates the share of drawn positions on which each latent of one SAE is active.

    It takes blocks as a consumer of ``run_pass``; only the drawn rows are encoded. Memory is d_sae numbers. Kept tokens
    of a collection are real ones: special tokens, padding and excluded positions are not stored.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
        draw: which positions count.
    """

    def __init__(self, sae: SparseAutoencoder, layer: int, draw: PositionDraw):
        self._sae, self._layer, self.draw = sae, layer, draw
        self.n_positions = 0
        self._n_active = np.zeros(sae.d_sae, dtype=np.int64)

    def update(self, block: ResidualBlock) -> "GeneralTextRate":
        """Take the drawn positions of a block into account."""
        rows = np.flatnonzero(self.draw.mask(block.sequence_id, block.position))
        if not len(rows):
            return self
        x = block.residuals[self._layer]
        return self.update_active(self._sae.active(x[torch.from_numpy(rows).to(x.device)]))

    def update_active(self, active: ActiveFeatures) -> "GeneralTextRate":
        """Take encodings of drawn positions into account, for a caller that has them."""
        self.n_positions += active.n
        self._n_active += np.bincount(active.feature.cpu().numpy(), minlength=self._sae.d_sae)
        return self

    def __add__(self, other: "GeneralTextRate") -> "GeneralTextRate":
        """Counts over both streams.

        Raises:
            MismatchError: they are of different SAEs, layers or draws.
        """
        if (self._sae.weights_hash, self._layer, self.draw) != (other._sae.weights_hash, other._layer, other.draw):
            raise MismatchError("counts of different SAEs or draws cannot be added", cure="add those of one")
        total = GeneralTextRate(self._sae, self._layer, self.draw)
        total.n_positions = self.n_positions + other.n_positions
        total._n_active = self._n_active + other._n_active
        return total

    def rate(self) -> np.ndarray:
        """[d_sae] share of the drawn positions on which each latent is active; NaN if none was drawn."""
        return self._n_active / (self.n_positions or np.nan)

    def silent(self, limit: float = FIRES_BELOW) -> np.ndarray:
        """[d_sae] bool: active on less than this share of ordinary positions.

        Raises:
            SettingsError: no position was drawn, so that nothing is known of any latent.
        """
        if not self.n_positions:
            raise SettingsError("no position of ordinary text was drawn", cure="draw more of a larger collection")
        return self.rate() < limit
