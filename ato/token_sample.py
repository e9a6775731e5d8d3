"""A fixed number of tokens a feature, drawn at random but the same whatever the order in which tokens come."""

import numpy as np

from ato.scramble import scramble


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
        self._feature = np.zeros(0, dtype=np.int64)
        self._priority = np.zeros(0, dtype=np.uint64)
        self._values = np.zeros((n_values, 0), dtype=np.float32)
        # A full feature takes a token only below the largest priority it holds.
        self._limit = np.full(n_features, np.iinfo(np.uint64).max, dtype=np.uint64)
        self._compacted = 0

    def update(self, feature: np.ndarray, sequence: np.ndarray, position: np.ndarray, values: np.ndarray) -> None:
        """Take active tokens into account.

        Args:
            feature: [m] features.
            sequence: [m] sequences of the tokens.
            position: [m] positions of the tokens.
            values: [n_values, m].
        """
        priority = scramble((sequence.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64))
        self._append(feature, priority, values)

    def merge(self, other: "TokenSample") -> None:
        """Take the tokens of another sample into account."""
        self._append(other._feature, other._priority, other._values)

    def deviations(self) -> np.ndarray:
        """[n_values, n_features] mean absolute deviation of each value from its mean; 0 without tokens."""
        self._compact()
        n = np.maximum(np.bincount(self._feature, minlength=self._n_features), 1)

        def mean(values: np.ndarray) -> np.ndarray:
            return np.bincount(self._feature, values, minlength=self._n_features) / n

        return np.stack([mean(np.abs(values - mean(values)[self._feature])) for values in self._values])

    def _append(self, feature: np.ndarray, priority: np.ndarray, values: np.ndarray) -> None:
        kept = priority < self._limit[feature]
        self._feature = np.concatenate([self._feature, feature[kept]])
        self._priority = np.concatenate([self._priority, priority[kept]])
        self._values = np.concatenate([self._values, values[:, kept].astype(np.float32)], axis=1)
        if len(self._feature) > 2 * max(self._compacted, self._n_features * self.size // 4):
            self._compact()

    def _compact(self) -> None:
        order = np.lexsort((self._priority, self._feature))
        feature = self._feature[order]
        counts = np.bincount(feature, minlength=self._n_features)
        rank = np.arange(len(feature)) - (np.cumsum(counts) - counts)[feature]
        order = order[rank < self.size]
        self._feature, self._priority, self._values = (
            self._feature[order], self._priority[order], self._values[:, order],
        )  # fmt: skip
        last = np.flatnonzero(rank == self.size - 1)
        self._limit[feature[last]] = self._priority[np.searchsorted(self._feature, feature[last], side="right") - 1]
        self._compacted = len(self._feature)
