"""Where in a block a token stands: rows found by sequence and position, all at once."""

import numpy as np


class TokenIndex:
    """Row numbers of tokens, looked up by their sequence and position; the tokens may be in any order.

    Args:
        sequence_id: [n] int64.
        position: [n], from 0; no two tokens share sequence and position.
    """

    def __init__(self, sequence_id: np.ndarray, position: np.ndarray):
        self._width = int(position.max(initial=0)) + 1
        keys = sequence_id.astype(np.int64) * self._width + position
        self._order = np.argsort(keys, kind="stable")
        self._keys = keys[self._order]

    def rows(self, sequence_id: np.ndarray, position: np.ndarray) -> np.ndarray:
        """Row numbers int64, of the shape the arguments broadcast to; -1 where there is no such token."""
        position = np.asarray(position, dtype=np.int64)
        keys = sequence_id * self._width + position
        if not len(self._keys):
            return np.full(keys.shape, -1)
        place = np.searchsorted(self._keys, keys).clip(max=len(self._keys) - 1)
        # A position beyond the width would be found in a neighbouring sequence.
        found = (position >= 0) & (position < self._width) & (self._keys[place] == keys)
        return np.where(found, self._order[place], -1)

    def up_to_each(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The tokens of each token's own sequence up to itself, as a run of an ordering of all tokens.

        Returns:
            rows [n] in order of sequence and position; and for every token start [n] and length [n] >= 1, such that
            ``rows[start : start + length]`` are the tokens of its sequence from the first to itself.
        """
        place = np.empty(len(self._order), dtype=np.int64)
        place[self._order] = np.arange(len(self._order))
        sequence = self._keys // self._width
        start = np.searchsorted(sequence, sequence)[place]
        return self._order, start, place - start + 1
