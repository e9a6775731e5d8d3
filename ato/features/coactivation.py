"""Neighbours of chosen features: those that fire on the same tokens, and those whose decoder rows are alike."""

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Literal

import numpy as np
import torch

from ato.errors import InputError, MismatchError
from ato.numerics.ratios import ratio
from ato.saes.autoencoder import ActiveFeatures

_ROWS = 256
"""Chosen features compared with all at a time: arrays of 34 MB for 16,384 features."""
Association = Literal["phi", "jaccard"]


@dataclass(frozen=True)
class CoFiring:
    """Tokens on which two features fire, for c chosen features against all."""

    features: np.ndarray
    """[c] int64, the chosen."""
    n_tokens: int
    """Tokens looked at."""
    n_active: np.ndarray
    """[d_sae] int64, tokens on which a feature fires."""
    n_both: np.ndarray
    """[c, d_sae] int64, tokens on which both do."""

    @property
    def jaccard(self) -> np.ndarray:
        """[c, d_sae] tokens of both / tokens of either; NaN where neither ever fires."""
        either = self.n_active[self.features][:, None] + self.n_active - self.n_both
        return ratio(self.n_both, either)

    @property
    def phi(self) -> np.ndarray:
        """[c, d_sae] Pearson correlation of firing, in [-1, 1]; NaN where one of the two never or always fires.

        ``(n n_fg - n_f n_g) / sqrt(n_f (n - n_f) n_g (n - n_g))``.
        """
        n, n_g = float(self.n_tokens), self.n_active.astype(np.float64)
        n_f = n_g[self.features][:, None]
        scale = np.sqrt(n_f * (n - n_f)) * np.sqrt(n_g * (n - n_g))
        return ratio(n * self.n_both - n_f * n_g, scale)


class CoFiringCounts:
    """Accumulates how often each chosen feature fires together with each other one.

    Memory is chosen x d_sae x 4 bytes (66 MB for 1,000 of 16,384), whatever the number of tokens; the time of a block is
    that of a sparse product.

    Args:
        d_sae: number of features.
        features: the chosen.

    Raises:
        InputError: a feature beyond d_sae, or one that is named twice.
    """

    def __init__(self, d_sae: int, features: np.ndarray):
        self.features = check_features(features, d_sae)
        self._d_sae, self._n_tokens = d_sae, 0
        self._row = np.full(d_sae, -1, dtype=np.int64)
        self._row[self.features] = np.arange(len(self.features))
        self._n_active = np.zeros(d_sae, dtype=np.int64)
        self._both = np.zeros((len(self.features), d_sae), dtype=np.uint32)

    def update(self, active: ActiveFeatures) -> "CoFiringCounts":
        """Take the tokens of a block into account."""
        from scipy.sparse import csr_array

        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        self._n_tokens += active.n
        self._n_active += np.bincount(feature, minlength=self._d_sae)
        row = self._row[feature]
        chosen = row >= 0
        if not chosen.any():
            return self
        ones = np.ones(len(token), dtype=np.uint32)
        starts = np.searchsorted(token, np.arange(active.n + 1))
        fires = csr_array((ones, feature, starts), shape=(active.n, self._d_sae))
        of_chosen = csr_array((ones[chosen], (row[chosen], token[chosen])), shape=(len(self.features), active.n))
        both = (of_chosen @ fires).tocoo()
        self._both[both.row, both.col] += both.data
        return self

    def __add__(self, other: "CoFiringCounts") -> "CoFiringCounts":
        """The counts over both streams.

        Raises:
            MismatchError: they are of other features.
        """
        if self._d_sae != other._d_sae or not np.array_equal(self.features, other.features):
            raise MismatchError("counts of different features cannot be added", cure="choose the same features")
        total = CoFiringCounts(self._d_sae, self.features)
        total._n_tokens = self._n_tokens + other._n_tokens
        total._n_active = self._n_active + other._n_active
        total._both = self._both + other._both
        return total

    def result(self) -> CoFiring:
        """The counts over all tokens seen."""
        return CoFiring(self.features, self._n_tokens, self._n_active.copy(), self._both.astype(np.int64))


@dataclass(frozen=True)
class Neighbours:
    """Neighbours of features, ordered by feature and rank; every array is [m]."""

    feature_id: np.ndarray
    """int64."""
    rank: np.ndarray
    """int64, from 1 within the feature."""
    neighbour: np.ndarray
    """int64, the other feature."""
    value: np.ndarray
    """float64: phi, Jaccard index or cosine."""

    def __len__(self) -> int:
        return len(self.feature_id)


def coactivation_neighbours(counts: CoFiring, n: int = 10, by: Association = "phi") -> Neighbours:
    """The n features that fire most with each chosen one; those that never do are none of them.

    Args:
        counts: of the chosen features.
        n: most neighbours of a feature.
        by: what orders them; of equal values the feature with the smaller number comes first.
    """
    parts = []
    for rows in _chunks(len(counts.features)):
        some = replace(counts, features=counts.features[rows], n_both=counts.n_both[rows])
        value = some.phi if by == "phi" else some.jaccard
        parts.append(_largest(some.features, np.where(some.n_both > 0, value, np.nan), n))
    return _joined(parts)


def cosine_neighbours(directions: torch.Tensor, features: np.ndarray, n: int = 10) -> Neighbours:
    """The n features whose decoder rows have the largest cosine with that of each chosen one; opposite ones are none.

    Args:
        directions: [d_sae, d] decoder rows of length 1, or of zeros: such a row has no neighbours.
        features: the chosen.
        n: most neighbours of a feature.

    Raises:
        InputError: a feature beyond d_sae, or one that is named twice.
    """
    features = check_features(features, len(directions))
    parts = []
    for rows in _chunks(len(features)):
        own = directions[torch.from_numpy(features[rows]).to(directions.device)]
        cosine = (own @ directions.T).double().cpu().numpy()
        parts.append(_largest(features[rows], np.where(cosine > 0, cosine, np.nan), n))
    return _joined(parts)


def _chunks(n: int) -> Iterator[slice]:
    return (slice(start, start + _ROWS) for start in range(0, n, _ROWS))


def _joined(parts: list[Neighbours]) -> Neighbours:
    nothing = np.zeros(0, dtype=np.int64)
    parts = [Neighbours(nothing, nothing, nothing, np.zeros(0)), *parts]
    names = [column.name for column in fields(Neighbours)]
    return Neighbours(**{name: np.concatenate([getattr(part, name) for part in parts]) for name in names})


def _largest(features: np.ndarray, value: np.ndarray, n: int) -> Neighbours:
    """The largest n of each row of value [c, d_sae] that are no NaN, the feature itself left out."""
    value[np.arange(len(features)), features] = np.nan
    order = np.argsort(-value, axis=1, kind="stable")[:, :n]  # NaN comes last
    found = np.take_along_axis(value, order, axis=1)
    row, place = np.nonzero(~np.isnan(found))
    return Neighbours(features[row], place + 1, order[row, place], found[row, place])


def check_features(features: np.ndarray, d_sae: int) -> np.ndarray:
    """Chosen features as int64, ascending.

    Raises:
        InputError: a feature beyond d_sae, or one that is named twice.
    """
    chosen = np.sort(np.asarray(features, dtype=np.int64).reshape(-1))
    if len(chosen) and not 0 <= chosen[0] <= chosen[-1] < d_sae:
        wrong = chosen[0] if chosen[0] < 0 else chosen[-1]
        raise InputError(f"the SAE has no feature {wrong}", cure=f"use features 0 to {d_sae - 1}")
    if (np.diff(chosen) == 0).any():
        raise InputError("a feature is named twice", cure="name each feature once")
    return chosen
