"""Windows of sequences: where each begins and ends, which of them a token lies in, and where their tokens are known."""

from collections.abc import Mapping

import numpy as np

from ato.residuals.blocks import ResidualBlock


class WindowIndex:
    """Windows of tokens around chosen ones, cut at the ends of their sequences.

    Args:
        sequence_id: [w] sequences of the tokens.
        position: [w] their positions.
        lengths: sequence id -> tokens in the sequence.
        before: tokens of a window before the chosen one.
        after: tokens behind it.
    """

    def __init__(
        self, sequence_id: np.ndarray, position: np.ndarray, lengths: Mapping[int, int], before: int, after: int
    ):
        present, code = np.unique(np.asarray(sequence_id, dtype=np.int64), return_inverse=True)
        length = np.array([lengths[int(s)] for s in present], dtype=np.int64)[code]
        self.position = np.asarray(position, dtype=np.int64)
        """[w]."""
        self.start = np.maximum(self.position - before, 0)
        """[w] position of each window's first token."""
        self.end = np.minimum(self.position + after + 1, length)
        """[w] position behind its last."""
        self.width = before + after + 1
        self.sequences = present
        """Ids of the sequences that have a window, ascending."""
        self._order = np.argsort(code, kind="stable")
        self._first = np.append(0, np.cumsum(np.bincount(code, minlength=len(present))))
        cells = self.start[:, None] + np.arange(self.width)
        keys = token_key(present[code][:, None], cells)
        self._wanted = np.unique(keys[cells < self.end[:, None]])

    def __len__(self) -> int:
        return len(self.position)

    def wanted(self, block: ResidualBlock) -> np.ndarray:
        """[n] mask of the block's tokens that lie in a window."""
        key = token_key(block.sequence_id, block.position)
        if not len(self._wanted):
            return np.zeros(block.n, dtype=bool)
        return self._wanted[np.minimum(np.searchsorted(self._wanted, key), len(self._wanted) - 1)] == key

    def containing(self, sequence_id: np.ndarray, position: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Every pair of a token and a window that it lies in: the token's row, and the window's number."""
        if not len(self.sequences):
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        code = np.minimum(np.searchsorted(self.sequences, sequence_id), len(self.sequences) - 1)
        times = np.where(self.sequences[code] == sequence_id, self._first[code + 1] - self._first[code], 0)
        row = np.repeat(np.arange(len(times)), times)
        within = np.arange(len(row)) - np.repeat(np.cumsum(times) - times, times)
        window = self._order[self._first[code[row]] + within]
        inside = (position[row] >= self.start[window]) & (position[row] < self.end[window])
        return row[inside], window[inside]


class KnownTokens:
    """Which tokens of windows were seen in a pass: a collection leaves out some, and of these nothing is known.

    Args:
        index: the windows.
    """

    def __init__(self, index: WindowIndex):
        self._index = index
        self._seen = np.zeros((len(index), index.width), dtype=bool)

    def update(self, block: ResidualBlock) -> "KnownTokens":
        """Take the tokens of a block into account."""
        row, window = self._index.containing(block.sequence_id, block.position)
        self._seen[window, block.position[row] - self._index.start[window]] = True
        return self

    def __add__(self, other: "KnownTokens") -> "KnownTokens":
        """What either has seen of the same windows."""
        total = KnownTokens(self._index)
        total._seen = self._seen | other._seen
        return total

    def runs(self) -> tuple[np.ndarray, np.ndarray]:
        """First position [w] and the one behind the last [w] of the tokens seen without a gap around each window's own.

        Both are the token's own position where that was never seen.
        """
        index, column = self._index, np.arange(self._index.width)
        centre = (index.position - index.start)[:, None]
        gap = ~self._seen
        low = np.where(gap & (column <= centre), column, -1).max(axis=1, initial=-1) + 1
        high = np.where(gap & (column >= centre), column, index.width).min(axis=1, initial=index.width)
        start, end = index.start + low, np.minimum(index.start + high, index.end)
        empty = end <= start
        return np.where(empty, index.position, start), np.where(empty, index.position, end)


def token_key(sequence_id: np.ndarray | int, position: np.ndarray) -> np.ndarray:
    """One number a token: sequences are shorter than 2^24 tokens."""
    return (np.asarray(sequence_id, dtype=np.int64) << 24) + position
