"""What divides text into parts: topics or sources of documents, tenths of the sequences, regions of a chat."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError
from ato.residuals.blocks import ResidualBlock

RELATIVE_POSITION = "relative_position"
N_TENTHS = 10


@dataclass(frozen=True, eq=False)
class Stratum:
    """One way to divide tokens into parts."""

    name: str
    """Such as ``topic``."""
    values: tuple[str, ...]
    """Names of the parts."""
    code_of: Callable[[ResidualBlock], np.ndarray]
    """The part of each token of a block: [n] int64, index into ``values``; -1 where nothing is said of the token."""


def document_stratum(name: str, values: Mapping[int, str]) -> Stratum:
    """Parts by document.

    Args:
        name: of the stratum.
        values: number of a document within the collection -> its value; documents without one are left out.
    """
    documents = np.array(sorted(values), dtype=np.int64)
    names, own = np.unique([values[int(d)] for d in documents], return_inverse=True)

    def code_of(block: ResidualBlock) -> np.ndarray:
        return _looked_up(block.document, documents, own)

    return Stratum(name, tuple(map(str, names)), code_of)


def position_tenths(lengths: Mapping[int, int]) -> Stratum:
    """Tenths of the sequences: token p of n lies in tenth floor(10 p / n), ``0-10%`` to ``90-100%``.

    Args:
        lengths: sequence id -> tokens in the sequence; of tokens of other sequences nothing is said.
    """
    ids = np.array(sorted(lengths), dtype=np.int64)
    length = np.array([lengths[int(s)] for s in ids], dtype=np.int64)
    names = tuple(f"{10 * tenth}-{10 * tenth + 10}%" for tenth in range(N_TENTHS))

    def code_of(block: ResidualBlock) -> np.ndarray:
        n = _looked_up(block.sequence_id, ids, length)
        position = block.position.astype(np.int64)
        inside = (n > 0) & (position < n)
        return np.where(inside, N_TENTHS * position // np.maximum(n, 1), -1)

    return Stratum(RELATIVE_POSITION, names, code_of)


def token_stratum(name: str, values: tuple[str, ...], codes: Mapping[int, np.ndarray]) -> Stratum:
    """Parts by token, such as the regions of a chat.

    Args:
        name: of the stratum.
        values: names of the parts.
        codes: sequence id -> [tokens in the sequence] index into ``values``, -1 for tokens of none.

    Raises:
        InputError: a code that no value has.
    """
    ids = np.array(sorted(codes), dtype=np.int64)
    length = np.array([len(codes[int(s)]) for s in ids], dtype=np.int64)
    first = np.cumsum(length) - length
    joined = np.concatenate([np.zeros(0, dtype=np.int64), *(np.asarray(codes[int(s)], dtype=np.int64) for s in ids)])
    if len(joined) and not -1 <= joined.min() <= joined.max() < len(values):
        raise InputError(
            f"stratum {name} has codes {joined.min()} to {joined.max()}", cure=f"use -1 to {len(values) - 1}"
        )

    def code_of(block: ResidualBlock) -> np.ndarray:
        own = _looked_up(block.sequence_id, ids, np.arange(len(ids)))
        known = own >= 0
        known[known] = block.position[known] < length[own[known]]
        found = np.full(block.n, -1, dtype=np.int64)
        found[known] = joined[first[own[known]] + block.position[known]]
        return found

    return Stratum(name, values, code_of)


def _looked_up(keys: np.ndarray, known: np.ndarray, values: np.ndarray) -> np.ndarray:
    """[n] values of keys among the known, ascending ones; -1 for others."""
    if not len(known):
        return np.full(len(keys), -1, dtype=np.int64)
    place = np.minimum(np.searchsorted(known, keys), len(known) - 1)
    return np.where(known[place] == keys, values[place], -1).astype(np.int64)
