"""The source feature that goes with each target feature by weights alone: decoder cosine and transported direction."""

from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.numerics.ratios import ratio
from ato.operators.operator import TransportOperator
from ato.saes.autoencoder import SparseAutoencoder

_CHUNK = 1024
"""Target features whose products with all source features are held at once."""


@dataclass(frozen=True)
class DirectionMatch:
    """A source feature for each target feature, arrays [target features]; u are unit decoder rows, T the operator's matrix."""

    source_feature: np.ndarray
    """int64; -1 for a target feature whose decoder row is zero."""
    cosine: np.ndarray
    """u_source . u_target."""
    transport_cosine: np.ndarray
    """Cosine of T u_source with u_target."""
    transport_share: np.ndarray
    """(u_target . T u_source)^2 / |T' u_target|^2: the share of all that T carries to the target's direction, by squared
    length, that lies along the source's direction."""


def nearest(directions: np.ndarray, candidates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The candidate [m, d] with the largest product with each direction [n, d], the first of equal ones; and the product.

    Candidates of zeros are nobody's.
    """
    missing = ~candidates.any(1)
    index, product = np.zeros(len(directions), dtype=np.int64), np.full(len(directions), -np.inf)
    for start in range(0, len(directions), _CHUNK):
        products = directions[start : start + _CHUNK] @ candidates.T
        products[:, missing] = -np.inf
        own = slice(start, start + _CHUNK)
        index[own] = products.argmax(1)
        product[own] = products[np.arange(len(products)), index[own]]
    return index, product


@dataclass(frozen=True)
class CarriedDirections:
    """Unit decoder rows of two SAEs and what an operator T makes of the first ones, float64; rows may be zero."""

    source: np.ndarray
    """[source features, d_in]."""
    target: np.ndarray
    """[target features, d_out]."""
    carried: np.ndarray
    """[source features, d_out] T u."""
    length: np.ndarray
    """[source features] |T u|."""

    @property
    def heads(self) -> np.ndarray:
        """[source features, d_out] T u / |T u|; zero for what T carries nowhere, which is nobody's match."""
        found: np.ndarray = self.carried / np.where(self.length > 0, self.length, np.inf)[:, None]
        return found


def carried_directions(
    source: SparseAutoencoder, target: SparseAutoencoder, operator: TransportOperator
) -> CarriedDirections:
    """The directions of both SAEs, those of the source carried by the operator.

    Raises:
        MismatchError: the SAEs and the operator are of different widths.
    """
    if (source.d_in, target.d_in) != (operator.d_in, operator.d_out) or source.d_in != target.d_in:
        raise MismatchError(
            f"SAEs of width {source.d_in} and {target.d_in} under an operator {operator.d_in} -> {operator.d_out}",
            cure="use SAEs of the operator's two layers",
        )
    u, v = (sae.decoder_directions.detach().double().cpu().numpy() for sae in (source, target))
    carried = u @ operator.matrix.T
    return CarriedDirections(u, v, carried, np.linalg.norm(carried, axis=1))


def direction_matches(
    source: SparseAutoencoder, target: SparseAutoencoder, operator: TransportOperator, seed: int = 0
) -> dict[str, DirectionMatch]:
    """``cosine`` -> the source features with the largest decoder cosine, ``transport`` -> with the largest cosine of
    T u_source, ``random`` -> drawn with the seed, the null of both. Of equal ones the first.

    Raises:
        MismatchError: the SAEs and the operator are of different widths.
    """
    of = carried_directions(source, target, operator)
    u, v, carried, length = of.source, of.target, of.carried, of.length
    best = {"cosine": nearest(v, u)[0], "transport": nearest(v, of.heads)[0]}
    best["random"] = np.random.default_rng(seed).integers(len(u), size=len(v))
    pulled = np.square(v @ operator.matrix).sum(1)
    found = {}
    for name, feature in best.items():
        product = np.einsum("fd,fd->f", v, carried[feature])
        known = v.any(1) & u[feature].any(1)
        found[name] = DirectionMatch(
            source_feature=np.where(v.any(1), feature, -1),
            cosine=np.where(known, np.einsum("fd,fd->f", v, u[feature]), np.nan).clip(-1, 1),
            transport_cosine=ratio(product, np.where(known, length[feature], 0)).clip(-1, 1),
            transport_share=ratio(np.square(product), np.where(known, pulled, 0)).clip(0, 1),
        )
    return found
