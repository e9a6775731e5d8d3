"""The active features of each token, strongest first, and what an operator predicts of them from an earlier layer."""

from dataclasses import dataclass
from itertools import pairwise
from typing import Protocol

import numpy as np
import torch

from ato.saes.autoencoder import ActiveFeatures
from ato.saes.feature_source import FeatureSource

STORED_FEATURES = 64
"""Strongest features that are kept of a token by default."""


class LayerMap(Protocol):
    """What predicts residuals of a layer from those of an earlier one, as a ``TransportOperator`` does."""

    @property
    def source_layer(self) -> int | None:
        """Where it starts."""
        ...

    def __call__(self, x: torch.Tensor, /) -> torch.Tensor:
        """Predicted rows [n, d_out] of rows [n, d_in]."""
        ...

    def check_pair(self, source_layer: int, target_layer: int) -> None:
        """Raise MismatchError unless it belongs to this pair of layers."""
        ...

    def check_model(self, weights_hash: str | None) -> None:
        """Raise MismatchError unless it belongs to the model with these weights."""
        ...


@dataclass(frozen=True)
class TokenFeatures:
    """The strongest active features of one token, in falling order of activation."""

    features: tuple[int, ...]
    """Their numbers in the SAE."""
    activations: tuple[float, ...]
    """Their activations, all positive."""
    n_active: int
    """How many features are active on the token, those left out included."""
    predicted: tuple[float, ...] | None = None
    """The same features' activations by an operator, 0 where they are silent; None without one."""


def predicted_features(sae: FeatureSource, operator: LayerMap, source: torch.Tensor) -> ActiveFeatures:
    """The features that are active on the operator's prediction: ``encode(T x + b)``.

    Args:
        sae: that reads the operator's target layer.
        operator: from the layer that ``source`` is of.
        source: [n, d_in] residuals.

    Raises:
        InputError: residuals of another width.
    """
    return sae.active(operator(source))


def features_of_tokens(
    active: ActiveFeatures, predicted: ActiveFeatures | None = None, most: int = STORED_FEATURES
) -> list[TokenFeatures]:
    """The features of each of n tokens; equal activations stand in the order of the features' numbers.

    Args:
        active: of n tokens.
        predicted: of the same tokens, by an operator.
        most: how many of a token are kept at most.
    """
    token, feature = (ids.cpu().numpy() for ids in (active.token, active.feature))
    value = active.value.detach().float().cpu().numpy()
    order = np.lexsort((feature, -value, token))
    token, feature, value = token[order], feature[order], value[order]
    carried = None if predicted is None else values_at(predicted, token, feature)
    bounds = np.searchsorted(token, np.arange(active.n + 1)).tolist()
    found = []
    for start, end in pairwise(bounds):
        own = slice(start, min(end, start + most))
        found.append(
            TokenFeatures(
                tuple(feature[own].tolist()),
                tuple(value[own].tolist()),
                end - start,
                None if carried is None else tuple(carried[own].tolist()),
            )
        )
    return found


def values_at(active: ActiveFeatures, token: np.ndarray, feature: np.ndarray) -> np.ndarray:
    """Activations [m] float32 of given features [m] on given tokens [m], 0 where a feature is silent."""
    triplets = zip(active.token.tolist(), active.feature.tolist(), active.value.tolist())
    known = {(row, number): value for row, number, value in triplets}
    return np.array([known.get(pair, 0.0) for pair in zip(token.tolist(), feature.tolist())], dtype=np.float32)
