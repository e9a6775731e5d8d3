"""Encoding of a few chosen features, at the cost of these few where the architecture allows it."""

from dataclasses import replace

import numpy as np
import torch

from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.feature_source import FeatureSource


class ChosenFeatures:
    """The activations of some features of an SAE, or of what else has features, and of no other.

    A gate that looks at each feature on its own needs only their columns of the encoder. TopK SAEs are encoded whole, since
    the others decide what is among the k largest.

    Args:
        sae: whose features they are.
        features: [c] the chosen, each once.
    """

    def __init__(self, sae: FeatureSource, features: np.ndarray):
        self._features = torch.from_numpy(np.asarray(features, dtype=np.int64))
        self._sae, self._few = sae, None
        if isinstance(sae, SparseAutoencoder) and not sae.kind.has_k:
            own = self._features.to(sae.W_enc.device)
            self._few = replace(
                sae,
                W_enc=sae.W_enc[:, own].contiguous(),
                b_enc=sae.b_enc[own],
                W_dec=sae.W_dec[own],
                threshold=None if sae.threshold is None else sae.threshold[own],
            )
        self._chosen = torch.zeros(sae.d_sae, dtype=torch.bool)
        self._chosen[self._features] = True

    def active(self, x: torch.Tensor) -> ActiveFeatures:
        """The positive activations of the chosen features on x [n, d_in]; features keep their numbers in the SAE."""
        if self._few is not None:
            found = self._few.active(x)
            return replace(found, feature=self._features.to(found.feature.device)[found.feature])
        found = self._sae.active(x)
        mine = self._chosen.to(found.feature.device)[found.feature]
        return ActiveFeatures(found.n, found.token[mine], found.feature[mine], found.value[mine])
