"""A few active tokens of every feature, the strongest or random ones, the same whatever the order in which tokens come."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ato.errors import MismatchError
from ato.numerics.counter_rng import splitmix64
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures

_NO_LIMIT = np.iinfo(np.uint64).max

OnePer = Literal["sequence", "document"]


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
    document: np.ndarray | None = None
    """int64; of samples that keep one token a sequence or document."""


@dataclass(frozen=True)
class Candidates:
    """Active tokens that may belong to a sample; entry i of every array is one token of one feature."""

    feature: np.ndarray
    """[m] of the smallest unsigned type: 16 bits are sorted by their digits, five times as fast."""
    priority: np.ndarray
    """[m] uint64; the smallest stay."""
    values: np.ndarray
    """[n_values, m] float32."""
    keys: tuple[np.ndarray, ...]
    """sequence_id, position, token_id and, where it matters, document, each [m]; empty where they are not kept."""

    @classmethod
    def gather(cls, parts: Sequence["Candidates"], index: np.ndarray) -> "Candidates":
        """Those at an index into all parts in order; one array is joined at a time, so that memory stays small."""

        def column(arrays: Iterable[np.ndarray]) -> np.ndarray:
            return _joined(arrays)[index]

        values = np.empty((len(parts[0].values), len(index)), dtype=np.float32)
        for row, out in enumerate(values):
            out[:] = column(part.values[row] for part in parts)
        keys = tuple(column(key) for key in zip(*(part.keys for part in parts)))
        return cls(column(part.feature for part in parts), column(part.priority for part in parts), values, keys)


def _joined(arrays: Iterable[np.ndarray]) -> np.ndarray:
    first, *others = arrays
    return np.concatenate([first, *others]) if others else first


class TokenSample:
    """Up to ``size`` active tokens of every feature, those of the smallest priority in a stream (bottom-k sampling).

    ``strongest`` keeps the largest activations; of equal ones those first by (sequence, position). ``random`` makes
    priorities from seed, sequence and position alone: a uniform sample. Either way neither the order nor the size of
    blocks changes what is kept, and two samples add to that of both streams. Memory is n_features x size, whatever the
    number of tokens.

    Args:
        n_features: number of features.
        size: tokens kept a feature.
        order: what decides.
        n_values: values kept of each token; the first is the activation.
        with_keys: whether sequence, position and token id are kept too, which ``strongest``, ``one_per`` and ``result`` need.
        one_per: keep at most one token of a sequence, or of a document, and feature, the first by that order.
        seed: of the random order; None is the order of no seed.
    """

    def __init__(
        self,
        n_features: int,
        size: int,
        order: Literal["strongest", "random"] = "strongest",
        *,
        n_values: int = 1,
        with_keys: bool = True,
        one_per: OnePer | None = None,
        seed: int | None = 0,
    ):
        self._rule = (n_features, size, order, n_values, with_keys, one_per, seed)
        self.size, self._n_features, self._order, self._one_per = size, n_features, order, one_per
        self._salt = np.uint64(0) if seed is None else splitmix64(np.array([seed], dtype=np.int64).astype(np.uint64))
        self._index = np.min_scalar_type(max(n_features - 1, 0))
        keys = (np.int64, np.int32, np.int32, np.int64)[: 3 if one_per is None else 4] if with_keys else ()
        self._key_types = tuple(map(np.dtype, keys))
        self._parts = [
            Candidates(
                np.zeros(0, self._index),
                np.zeros(0, np.uint64),
                np.zeros((n_values, 0), np.float32),
                tuple(np.zeros(0, dtype) for dtype in self._key_types),
            )
        ]
        self._counts = np.zeros(n_features, dtype=np.int64)
        # A full feature takes a token only up to the largest priority it holds.
        self._limit = np.full(n_features, _NO_LIMIT, dtype=np.uint64)

    def __len__(self) -> int:
        """Tokens held, those included that will be sorted out."""
        return int(self._counts.sum())

    def update(self, block: ResidualBlock, active: ActiveFeatures) -> "TokenSample":
        """Take the active tokens of a block into account."""
        token = active.token.cpu().numpy()
        keys = block.sequence_id[token], block.position[token], block.token_id[token], block.document[token]
        self.add(self.sift(active.feature.cpu().numpy(), active.value.cpu().numpy()[None], *keys))
        return self

    def sift(
        self,
        feature: np.ndarray,
        values: np.ndarray,
        sequence_id: np.ndarray,
        position: np.ndarray,
        token_id: np.ndarray | None = None,
        document: np.ndarray | None = None,
    ) -> Candidates:
        """The active tokens that may belong to the sample; changes nothing, so that several threads may sift at a time.

        Args:
            feature: [m] features.
            values: [n_values, m]; the first are activations, positive float32 where the strongest are kept.
            sequence_id: [m] sequences of the tokens.
            position: [m] positions of the tokens.
            token_id: [m]; needed where keys are kept.
            document: [m]; needed where one token a sequence or document is kept.
        """
        if self._order == "strongest":
            # Positive floats are ordered as their bit patterns are.
            bits = np.ascontiguousarray(values[0], dtype=np.float32).view(np.uint32)
            priority = np.uint64(0xFFFFFFFF) - bits.astype(np.uint64)
        else:
            key = (sequence_id.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64)
            priority = splitmix64(key ^ self._salt)
        given = (sequence_id, position, token_id, document)[: len(self._key_types)]
        keys = tuple(key for key in given if key is not None)
        return self._up_to_limit(Candidates(feature, priority, values, keys))

    def add(self, candidates: Candidates) -> None:
        """Take sifted tokens into account."""
        self._parts.append(candidates)
        self._counts += np.bincount(candidates.feature, minlength=self._n_features)
        # Sorting out costs as much as what is held: it waits until half of that can go.
        if len(self) > 2 * np.minimum(self._counts, self.size).sum():
            self._compact()

    def __add__(self, other: "TokenSample") -> "TokenSample":
        """The sample of both streams.

        Raises:
            MismatchError: they keep different tokens.
        """
        if self._rule != other._rule:
            raise MismatchError("token samples with different settings cannot be added", cure="use equal settings")
        n_features, size, order, n_values, with_keys, one_per, seed = self._rule
        total = TokenSample(
            n_features,
            size,
            order,
            n_values=n_values,
            with_keys=with_keys,
            one_per=one_per,
            seed=seed,
        )
        for part in (*self._parts, *other._parts):
            total.add(total._up_to_limit(part))
        return total

    def result(self) -> FeatureTokens:
        """The tokens kept, with their keys."""
        self._compact()
        (rows,) = self._parts
        sequence_id, position, token_id, *document = rows.keys
        order = np.lexsort((position, sequence_id, rows.priority, rows.feature))
        feature = rows.feature[order].astype(np.int32)
        rank = np.arange(len(feature)) - (np.cumsum(self._counts) - self._counts)[feature]
        value = rows.values[0, order]
        keys = sequence_id[order], position[order], token_id[order]
        return FeatureTokens(feature, rank, *keys, value, document[0][order] if document else None)

    def deviations(self) -> np.ndarray:
        """[n_values, n_features] mean absolute deviation of each value from its mean; 0 without tokens."""
        self._compact()
        values = self._parts[0].values
        found = np.zeros((len(values), self._n_features))
        present = np.flatnonzero(self._counts)
        if not len(present):
            return found
        n = self._counts[present]
        starts = np.cumsum(n) - n
        for row, own in zip(found, values, strict=True):
            means = np.add.reduceat(own, starts, dtype=np.float64) / n
            row[present] = np.add.reduceat(np.abs(own - np.repeat(means, n)), starts) / n
        return found

    def _up_to_limit(self, rows: Candidates) -> Candidates:
        kept = np.flatnonzero(rows.priority <= self._limit[rows.feature])
        keys = tuple(key[kept].astype(dtype, copy=False) for key, dtype in zip(rows.keys, self._key_types, strict=True))
        feature, values = rows.feature[kept].astype(self._index), rows.values[:, kept].astype(np.float32, copy=False)
        return Candidates(feature, rows.priority[kept], values, keys)

    def _compact(self) -> None:
        """Keep what belongs to the sample, in order of features and, within them, of arrival."""
        feature, priority = (_joined(getattr(part, name) for part in self._parts) for name in ("feature", "priority"))
        order = np.argsort(feature, kind="stable")
        if self._one_per is not None:
            order = order[self._first_of_unit(feature, priority)[order]]
            self._counts = np.bincount(feature[order], minlength=self._n_features)
        if self._counts.max(initial=0) > self.size:
            priority = priority[order]
            self._lower_limits(priority)
            kept = np.flatnonzero(priority <= np.repeat(self._limit, self._counts))
            order, priority = order[kept], priority[kept]
            self._counts = np.minimum(self._counts, self.size)
            if len(order) > len(self):
                order = self._without_surplus(feature, priority, order)
        del feature, priority
        self._parts = [Candidates.gather(self._parts, order)]

    def _lower_limits(self, priority: np.ndarray) -> None:
        """Set the limit of every feature that holds too many; priorities come in order of features."""
        fewest = self.size
        while fewest < self._counts.max():
            # Features with similar numbers of tokens are cut together, as rows padded to the same length.
            chosen = (self._counts > fewest) & (self._counts <= 2 * fewest)
            counts = self._counts[chosen]
            rows = np.full((len(counts), counts.max(initial=0)), _NO_LIMIT, dtype=np.uint64)
            rows[np.arange(rows.shape[1]) < counts[:, None]] = priority[np.repeat(chosen, self._counts)]
            if len(counts):
                self._limit[chosen] = np.partition(rows, self.size - 1, axis=1)[:, self.size - 1]
            fewest *= 2

    def _without_surplus(self, feature: np.ndarray, priority: np.ndarray, order: np.ndarray) -> np.ndarray:
        """The order without tokens that are as good as the last one kept, but later by sequence and position."""
        feature = feature[order]
        tied = np.flatnonzero(priority == self._limit[feature])
        n_tied = np.bincount(feature[tied], minlength=self._n_features)
        places = self.size - (np.bincount(feature, minlength=self._n_features) - n_tied)
        sequence_id, position = (key[order[tied]] for key in self._sequences_and_positions())
        tied = tied[np.lexsort((position, sequence_id, feature[tied]))]
        rank = np.arange(len(tied)) - (np.cumsum(n_tied) - n_tied)[feature[tied]]
        return np.delete(order, tied[rank >= places[feature[tied]]])

    def _first_of_unit(self, feature: np.ndarray, priority: np.ndarray) -> np.ndarray:
        """Mask of the tokens that are the first of their feature and sequence, or document, by priority and place."""
        sequence_id, position = self._sequences_and_positions()
        unit = _joined(part.keys[3] for part in self._parts) if self._one_per == "document" else sequence_id
        group = feature.astype(np.int64) * (unit.max(initial=0) + 1) + unit
        order = np.argsort(group)
        starts = np.flatnonzero(np.append(True, np.diff(group[order]) != 0)[: len(order)])
        counts = np.diff(np.append(starts, len(order)))
        least = np.repeat(np.minimum.reduceat(priority[order], starts), counts) if len(order) else priority
        best = order[priority[order] == least]
        again = np.diff(group[best], prepend=-1) == 0
        if again.any():  # of equal ones the first by place counts
            tied = np.isin(group[best], group[best[again]])
            alike = best[tied]
            alike = alike[np.lexsort((position[alike], sequence_id[alike], group[alike]))]
            best = np.append(best[~tied], alike[np.diff(group[alike], prepend=-1) != 0])
        first = np.zeros(len(order), dtype=bool)
        first[best] = True
        return first

    def _sequences_and_positions(self) -> tuple[np.ndarray, np.ndarray]:
        """Of all tokens held, in order of arrival."""
        sequence_id, position = (_joined(part.keys[i] for part in self._parts) for i in (0, 1))
        return sequence_id, position
