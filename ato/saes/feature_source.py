"""What statistics of features need to know of whatever has features."""

from typing import Protocol

import torch

from ato.saes.autoencoder import ActiveFeatures


class FeatureSource(Protocol):
    """What has features: a ``SparseAutoencoder``, or ``MLPNeurons``."""

    @property
    def d_sae(self) -> int:
        """Number of features."""
        ...

    @property
    def weights_hash(self) -> str:
        """Of what it computes."""
        ...

    @property
    def decoder_norms(self) -> torch.Tensor:
        """[d_sae] norms of the decoder rows."""
        ...

    @property
    def decoder_directions(self) -> torch.Tensor:
        """[d_sae, d] decoder rows scaled to length 1."""
        ...

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The positive activations of x [n, d_in]."""
        ...
