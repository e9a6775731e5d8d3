"""Links between the features of SAEs at two layers, by weights alone: ancestors at the source, heirs at the target."""

from dataclasses import dataclass

import numpy as np

from ato.causal.interventions import random_rotation
from ato.operators.operator import TransportOperator
from ato.sae_studies.matches import carried_directions, nearest
from ato.saes.autoencoder import SparseAutoencoder

NULL_QUANTILE = 0.95
"""Of the largest cosines of rotated directions, the null of a link."""


@dataclass(frozen=True)
class FeatureLinks:
    """The feature of another SAE nearest to each feature of an SAE, arrays [features]; T is the operator between them."""

    feature: np.ndarray
    """int64, of the largest decoder cosine; -1 for a feature whose decoder row is zero, or beside an SAE without any."""
    cosine: np.ndarray
    """That cosine; NaN of none."""
    cosine_chance: float
    """Quantile 0.95, over the features, of the same cosine after one random rotation of all of them."""
    transport_feature: np.ndarray
    """int64, of the largest cosine of transported source row and target row; -1 of none."""
    transport_cosine: np.ndarray
    transport_chance: float


def feature_links(
    source: SparseAutoencoder, target: SparseAutoencoder, operator: TransportOperator, seed: int = 0
) -> tuple[FeatureLinks, FeatureLinks]:
    """(ancestor of each target feature among the source's, heir of each source feature among the target's).

    Raises:
        MismatchError: the SAEs and the operator are of different widths.
    """
    of = carried_directions(source, target, operator)
    u, v, heads = of.source, of.target, of.heads
    rotation = random_rotation(operator.d_out, seed).double().numpy()
    return _links((v, u), (v, heads), rotation), _links((u, v), (heads, v), rotation)


def _links(
    plain: tuple[np.ndarray, np.ndarray], transported: tuple[np.ndarray, np.ndarray], rotation: np.ndarray
) -> FeatureLinks:
    """From (own, other) directions as the SAEs have them, and as the operator makes them comparable."""
    return FeatureLinks(*_best(*plain, rotation), *_best(*transported, rotation))


def _best(own: np.ndarray, other: np.ndarray, rotation: np.ndarray) -> tuple[np.ndarray, np.ndarray, float]:
    (index, cosine), (_, rotated) = nearest(own, other), nearest(own @ rotation, other)
    known = own.any(1) & bool(other.any())
    null_cosine = float(np.quantile(rotated[known], NULL_QUANTILE)) if known.any() else float("nan")
    return np.where(known, index, -1), np.where(known, cosine.clip(-1, 1), np.nan), null_cosine
