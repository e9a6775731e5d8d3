"""How good an innovation SAE is on held-out text: variance of y unexplained by T x + b and its features together."""

from typing import cast

import torch

from ato.residuals.blocks import ResidualBlock
from ato.sae_studies.innovation import InnovationSAE
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.quality import BlockRows, SAEQuality


class InnovationQuality(SAEQuality):
    """Accumulates the quality of one innovation SAE over blocks of ``Innovations`` that hold both layers.

    FVU is that of y, ``sum |y - y_hat|^2 / sum |y - mean y|^2`` with ``y_hat = T x + b + sae(v)``: T x counts. That of the
    innovation alone is ``SAEQuality`` of its SAE on the same blocks.

    Args:
        coder: the innovation SAE.
        layer: target layer.
    """

    def __init__(self, coder: InnovationSAE, layer: int):
        # It encodes, decodes active features and has W_dec, b_dec, d_sae and a hash: all that the sums need.
        super().__init__(cast(SparseAutoencoder, coder), layer)
        self._coder, self._source_layer = coder, coder.layers[0]
        mean = coder.operator.y_mean
        self._centre = coder.b_dec if mean is None else torch.from_numpy(mean).to(coder.b_dec)

    @property
    def centre(self) -> torch.Tensor:
        """[d] the train mean of y, where the operator knows it."""
        return self._centre

    def rows(self, block: ResidualBlock) -> BlockRows:
        """v, which is encoded, and y, which is to be rebuilt: T x + b is made once a block."""
        v, predicted = block.residuals[self._layer], self._coder.predicted(block.residuals[self._source_layer])
        return BlockRows(v, v.to(self._coder.W_dec) + predicted, predicted)

    def decoded(self, active: ActiveFeatures, rows: BlockRows) -> torch.Tensor:
        """T x + b and what is decoded of v."""
        assert rows.predicted is not None
        return rows.predicted + self._coder.decode_active(active)
