"""The best few active tokens of every feature, by activation or at random, whatever the order in which tokens come."""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ato.errors import MismatchError
from ato.numerics.counter_rng import splitmix64
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures

_COLUMNS = {
    "feature": np.int32,
    "priority": np.uint64,
    "sequence_id": np.int64,
    "position": np.int32,
    "token_id": np.int32,
    "value": np.float32,
}


@dataclass(frozen=True)
class FeatureTokens:
    """Active tokens of features, ordered by feature and then by rank; every array is [m]."""

    feature: np.ndarray
    """int32."""
    rank: np.ndarray
    """int64, from 0 within the feature."""
    sequence_id: np.ndarray
    """int64."""
    position: np.ndarray
    """int32."""
    token_id: np.ndarray
    """int32."""
    value: np.ndarray
    """float32, the activation."""


class KeptTokens:
    """Up to ``size`` active tokens of every feature, kept from a stream.

    ``strongest`` keeps the largest activations; of equal ones those first by (sequence, position). ``random`` keeps
    those with the smallest pseudo-random priority, which is made from seed, sequence and position alone (bottom-k
    sampling): a uniform sample. Either way the order and the size of blocks change nothing, and the tokens kept of two streams
    merge to those of both. Memory is n_features x size, whatever the number of tokens.

    Args:
        n_features: number of features.
        size: tokens kept a feature.
        order: what decides.
        one_per_sequence: keep at most one token of a sequence and feature, the first by that order.
        seed: of the random order.
    """

    def __init__(
        self,
        n_features: int,
        size: int,
        order: Literal["strongest", "random"] = "strongest",
        *,
        one_per_sequence: bool = False,
        seed: int = 0,
    ):
        self._rule = (n_features, size, order, one_per_sequence, seed)
        self.n_features, self.size, self._order, self._one_per_sequence, self._seed = self._rule
        self._salt = splitmix64(np.array([seed], dtype=np.int64).astype(np.uint64))
        self._rows = {name: np.zeros(0, dtype) for name, dtype in _COLUMNS.items()}
        # A full feature takes a token only up to the largest priority it holds.
        self._limit = np.full(n_features, np.iinfo(np.uint64).max, dtype=np.uint64)
        self._compacted = 0

    def update(
        self,
        feature: np.ndarray,
        value: np.ndarray,
        sequence_id: np.ndarray,
        position: np.ndarray,
        token_id: np.ndarray,
    ) -> "KeptTokens":
        """Take active tokens into account; every argument is [m], activations are positive float32."""
        value = value.astype(np.float32)
        if self._order == "strongest":
            # Positive floats are ordered as their bit patterns are.
            priority = np.uint64(0xFFFFFFFF) - value.view(np.uint32).astype(np.uint64)
        else:
            key = (sequence_id.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64)
            priority = splitmix64(key ^ self._salt)
        given = (feature, priority, sequence_id, position, token_id, value)
        self._append(dict(zip(_COLUMNS, given, strict=True)))
        return self

    def __add__(self, other: "KeptTokens") -> "KeptTokens":
        """The tokens kept of both streams.

        Raises:
            MismatchError: they keep different tokens.
        """
        if self._rule != other._rule:
            raise MismatchError("tokens kept by different rules cannot be added", cure="keep them by one rule")
        total = KeptTokens(*self._rule[:3], one_per_sequence=self._one_per_sequence, seed=self._seed)
        for part in (self, other):
            total._append(part._rows)
        return total

    def result(self) -> FeatureTokens:
        """The tokens kept."""
        rank = self._compact()
        return FeatureTokens(rank=rank, **{name: rows for name, rows in self._rows.items() if name != "priority"})

    def _append(self, rows: dict[str, np.ndarray]) -> None:
        kept = rows["priority"] <= self._limit[rows["feature"]]
        self._rows = {
            name: np.concatenate([held, rows[name][kept].astype(held.dtype)]) for name, held in self._rows.items()
        }
        if len(self._rows["feature"]) > 2 * max(self._compacted, self.n_features * self.size // 4):
            self._compact()

    def _compact(self) -> np.ndarray:
        """Drop what is not kept; returns the rank [m] of what is, in its feature."""
        rows = self._rows
        order = np.lexsort((rows["position"], rows["sequence_id"], rows["priority"], rows["feature"]))
        if self._one_per_sequence:
            order = order[_first_of_sequence(rows["feature"][order], rows["sequence_id"][order])]
        feature = rows["feature"][order]
        counts = np.bincount(feature, minlength=self.n_features)
        rank = np.arange(len(feature)) - (np.cumsum(counts) - counts)[feature]
        kept = rank < self.size
        self._rows = {name: column[order[kept]] for name, column in rows.items()}
        last = np.flatnonzero(rank == self.size - 1)
        self._limit[feature[last]] = rows["priority"][order[last]]
        self._compacted = int(kept.sum())
        return rank[kept]


def _first_of_sequence(feature: np.ndarray, sequence_id: np.ndarray) -> np.ndarray:
    """Mask [m] of the rows that are the first of their (feature, sequence)."""
    together = np.lexsort((sequence_id, feature))  # stable: within a pair the rows stay in order
    f, s = feature[together], sequence_id[together]
    first = np.zeros(len(f), dtype=bool)
    first[together[np.flatnonzero(np.append(True, (f[1:] != f[:-1]) | (s[1:] != s[:-1]))[: len(f)])]] = True
    return first


def keep_active(kept: KeptTokens, block: ResidualBlock, active: ActiveFeatures) -> None:
    """Offer the active tokens of a block to kept tokens."""
    token = active.token.cpu().numpy()
    keys = block.sequence_id[token], block.position[token], block.token_id[token]
    kept.update(active.feature.cpu().numpy(), active.value.cpu().numpy(), *keys)
