"""How good a transcoder is on held-out text: variance of y unexplained, sparsity, dead features."""

from typing import cast

import torch

from ato.residuals.blocks import ResidualBlock
from ato.residuals.site_pairs import split_pairs
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.quality import BlockRows, SAEQuality
from ato.saes.transcoder import Transcoder


class TranscoderQuality(SAEQuality):
    """Accumulates the quality of one transcoder over blocks of pairs, see ``ato.residuals.site_pairs``.

    Its result is a ``Reconstruction``: FVU is that of y, ``sum |y - y_hat|^2 / sum |y - mean y|^2``.

    Args:
        transcoder: the transcoder.
        layer: layer whose pairs it reads.
    """

    def __init__(self, transcoder: Transcoder, layer: int):
        # Both encode, decode active features and have W_dec, b_dec, d_sae and a hash: all that the sums need.
        super().__init__(cast(SparseAutoencoder, transcoder), layer)
        self._transcoder = transcoder

    def rows(self, block: ResidualBlock) -> BlockRows:
        """x, which is encoded, and y, which is to be written."""
        return BlockRows(*split_pairs(block.residuals[self._layer], self._transcoder.d_in))

    def decoded(self, active: ActiveFeatures, rows: BlockRows) -> torch.Tensor:
        """What is written where x [n, d_in] is read."""
        return self._transcoder.decode_active(active, rows.read)
