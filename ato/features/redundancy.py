"""How far a feature's activations can be read off another feature's: the largest correlation, exact over a stream."""

from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.saes.autoencoder import ActiveFeatures

_TILE = 512
"""Features in one row of tiles: what is added at a time is 64 MB for 16,384 features."""
_CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding: the feature is constant."""


@dataclass(frozen=True)
class Redundancy:
    """The largest absolute correlation of each feature with another one."""

    correlation: np.ndarray
    """[d_sae] in [0, 1]; NaN for a constant feature, and where every other feature is constant."""
    feature: np.ndarray
    """[d_sae] int64, the other feature, the first of equal ones; -1 where the correlation is NaN."""


class CoActivations:
    """Sums and products of the activations of all pairs of features.

    Activations are sparse, so that the products of a block are one sparse product, whose cost is the square of the
    active features a token and not of d_sae. They are kept in float64, the upper triangle only, in rows of tiles:
    8 bytes x d_sae^2 / 2 (17 MB for 2,048 features, 1.1 GB for 16,384), whatever the number of tokens.

    Args:
        d_sae: number of features.
    """

    def __init__(self, d_sae: int):
        self.d_sae, self.n_tokens = d_sae, 0
        self._sum = np.zeros(d_sae)
        self._starts = range(0, d_sae, _TILE)
        self._products = [np.zeros((min(_TILE, d_sae - start), d_sae - start)) for start in self._starts]

    def update(self, active: ActiveFeatures) -> "CoActivations":
        """Take the tokens of a block into account, those without an active feature too."""
        from scipy.sparse import csr_array

        self.n_tokens += active.n
        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        value = active.value.cpu().numpy().astype(np.float64)
        self._sum += np.bincount(feature, value, minlength=self.d_sae)
        starts = np.searchsorted(token, np.arange(active.n + 1))
        a = csr_array((value, feature, starts), shape=(active.n, self.d_sae))
        by_feature = a.T.tocsr()  # [d_sae, n]
        for start, products in zip(self._starts, self._products):
            products += (by_feature[start : start + len(products)] @ a[:, start:]).toarray()
        return self

    def __add__(self, other: "CoActivations") -> "CoActivations":
        """The sums over both streams.

        Raises:
            MismatchError: they are of SAEs of different sizes.
        """
        if self.d_sae != other.d_sae:
            raise MismatchError(
                f"cannot add statistics of SAEs with {self.d_sae} and {other.d_sae} features", cure="add those of one"
            )
        total = CoActivations(self.d_sae)
        total.n_tokens = self.n_tokens + other.n_tokens
        total._sum = self._sum + other._sum
        total._products = [a + b for a, b in zip(self._products, other._products)]
        return total

    def result(self) -> Redundancy:
        """Largest |Pearson correlation| of each feature with another, over all tokens read (zeros included)."""
        n = max(self.n_tokens, 1)
        mean = self._sum / n
        squares = np.concatenate([products.diagonal() for products in self._products]) / n
        variance = squares - mean**2
        scale = np.full(self.d_sae, np.nan)
        np.divide(1.0, np.sqrt(np.maximum(variance, 0.0)), out=scale, where=variance > _CONSTANT * squares)
        best, partner = np.full(self.d_sae, -1.0), np.full(self.d_sae, -1)
        for start, products in zip(self._starts, self._products):
            end = start + len(products)
            correlation = products / n - mean[start:end, None] * mean[start:]
            correlation *= scale[start:end, None] * scale[start:]
            correlation = np.nan_to_num(np.abs(correlation, out=correlation), nan=-1.0, copy=False)
            np.fill_diagonal(correlation, -1.0)
            # Rows of this tile meet the features from `start` on; those met before have been taken as columns.
            _take_larger(best, partner, np.arange(start, end), correlation, start)
            _take_larger(best, partner, np.arange(end, self.d_sae), correlation[:, end - start :].T, start)
        return Redundancy(np.where(best >= 0, np.minimum(best, 1.0), np.nan), np.where(best >= 0, partner, -1))


def _take_larger(
    best: np.ndarray, partner: np.ndarray, features: np.ndarray, correlation: np.ndarray, first: int
) -> None:
    """Note the largest of correlation [features, others], others counting from ``first``, where it exceeds the best."""
    if not correlation.size:
        return
    other = correlation.argmax(axis=1)
    value = correlation[np.arange(len(features)), other]
    larger = value > best[features]
    best[features[larger]] = value[larger]
    partner[features[larger]] = other[larger] + first
