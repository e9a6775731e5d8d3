"""A fixed number of tokens a feature, drawn at random but the same whatever the order in which tokens come."""

import numpy as np

from ato.numerics.counter_rng import splitmix64

Candidates = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Features [m], priorities [m] and values [n_values, m] of tokens."""


class TokenSample:
    """Up to ``size`` active tokens of every feature with some values each: all of them where there are no more.

    Each token has a pseudo-random priority made from its sequence and position; those with the smallest stay
    (bottom-k sampling). So the sample is uniform, two samples merge to the sample of both streams, and neither the
    order of blocks nor their size changes it.

    Args:
        n_features: number of features.
        n_values: values kept of each token.
        size: tokens kept a feature.
    """

    def __init__(self, n_features: int, n_values: int, size: int):
        self.size, self._n_features = size, n_features
        # 16 bits are sorted by their digits, five times as fast.
        self._index = np.min_scalar_type(max(n_features - 1, 0))
        self._parts = [
            (np.zeros(0, self._index), np.zeros(0, dtype=np.uint64), np.zeros((n_values, 0), dtype=np.float32))
        ]
        self._counts = np.zeros(n_features, dtype=np.int64)
        # A full feature takes a token only below the largest priority it holds.
        self._limit = np.full(n_features, np.iinfo(np.uint64).max, dtype=np.uint64)

    def __len__(self) -> int:
        """Tokens held, those included that will be sorted out."""
        return int(self._counts.sum())

    def update(self, feature: np.ndarray, sequence: np.ndarray, position: np.ndarray, values: np.ndarray) -> None:
        """Take active tokens into account; arguments as those of ``sift``."""
        self.add(self.sift(feature, sequence, position, values))

    def sift(self, feature: np.ndarray, sequence: np.ndarray, position: np.ndarray, values: np.ndarray) -> Candidates:
        """The tokens that may belong to the sample; changes nothing, so that several threads may sift at a time.

        Args:
            feature: [m] features.
            sequence: [m] sequences of the tokens.
            position: [m] positions of the tokens.
            values: [n_values, m].
        """
        priority = splitmix64((sequence.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64))
        return self._below_limit(feature, priority, values)

    def merge(self, other: "TokenSample") -> None:
        """Take the tokens of another sample into account."""
        for part in other._parts:
            self.add(self._below_limit(*part))

    def add(self, candidates: Candidates) -> None:
        """Take sifted tokens into account."""
        self._parts.append(candidates)
        self._counts += np.bincount(candidates[0], minlength=self._n_features)
        # Sorting out costs as much as what is held: it waits until half of that can go.
        if len(self) > 2 * np.minimum(self._counts, self.size).sum():
            self._compact()

    def _below_limit(self, feature: np.ndarray, priority: np.ndarray, values: np.ndarray) -> Candidates:
        kept = np.flatnonzero(priority < self._limit[feature])
        return feature[kept].astype(self._index), priority[kept], values[:, kept].astype(np.float32)

    def deviations(self) -> np.ndarray:
        """[n_values, n_features] mean absolute deviation of each value from its mean; 0 without tokens."""
        self._compact()
        _, _, values = self._parts[0]
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

    def _compact(self) -> None:
        """Keep what belongs to the sample, in order of features."""
        feature, priority, values = (np.concatenate(arrays, axis=-1) for arrays in zip(*self._parts))
        order = np.argsort(feature, kind="stable")
        feature, priority = feature[order], priority[order]
        if self._counts.max(initial=0) > self.size:
            self._lower_limits(priority)
            kept = np.flatnonzero(priority <= np.repeat(self._limit, self._counts))
            feature, priority, order = feature[kept], priority[kept], order[kept]
            self._counts = np.minimum(self._counts, self.size)
        self._parts = [(feature, priority, values[:, order])]

    def _lower_limits(self, priority: np.ndarray) -> None:
        """Set the limit of every feature that holds too many; priorities come in order of features."""
        fewest = self.size
        while fewest < self._counts.max():
            # Features with similar numbers of tokens are cut together, as rows padded to the same length.
            chosen = (self._counts > fewest) & (self._counts <= 2 * fewest)
            counts = self._counts[chosen]
            rows = np.full((len(counts), counts.max(initial=0)), np.iinfo(np.uint64).max, dtype=np.uint64)
            rows[np.arange(rows.shape[1]) < counts[:, None]] = priority[np.repeat(chosen, self._counts)]
            if len(counts):
                self._limit[chosen] = np.partition(rows, self.size - 1, axis=1)[:, self.size - 1]
            fewest *= 2
