"""On how many kinds of tokens a feature fires: entropies over token ids and strata, and what chance would give."""

from dataclasses import dataclass

import numpy as np

_KIND_BITS = 32
"""A key holds the row above these bits and the kind (a token id, a stratum) in them."""
_COMPACT_AT = 1 << 20
"""Keys that are gathered at least before they are counted."""
_GRID, _DRAWS, _SEED = 48, 8, 0
"""Sizes at which chance is drawn, draws of each, and their seed."""


@dataclass(frozen=True)
class Specialisation:
    """How narrow features are, each array [d_sae]; entropies in nats, NaN where a feature is active on no such token."""

    n_active: np.ndarray
    """int64, tokens on which the feature is active."""
    token_entropy: np.ndarray
    """Entropy of the token ids it is active on: 0 if on one id only."""
    token_entropy_by_chance: np.ndarray
    """Mean entropy of as many tokens drawn from all that were seen; the entropy of few tokens is small by itself."""
    n_labelled: np.ndarray
    """int64, those of the tokens whose document has a stratum."""
    stratum_entropy: np.ndarray
    """Entropy of the strata of these tokens."""
    stratum_entropy_by_chance: np.ndarray
    """The same of as many labelled tokens drawn from all that were seen."""


class KindCounts:
    """How often each kind was met in each row, sparsely.

    Memory is that of the different (row, kind) pairs: at most rows x kinds, whatever the number of tokens.
    """

    def __init__(self) -> None:
        self._keys = np.zeros(0, dtype=np.int64)
        self._counts = np.zeros(0, dtype=np.int64)
        self._pending: list[np.ndarray] = []
        self._n_pending = 0

    def add(self, row: np.ndarray, kind: np.ndarray) -> None:
        """Count the pairs (row[i], kind[i]); kinds are below 2^32."""
        self._pending.append((row.astype(np.int64) << _KIND_BITS) | kind.astype(np.int64))
        self._n_pending += len(row)
        if self._n_pending > max(_COMPACT_AT, len(self._keys)):  # the work stays linear in the number of pairs
            self._compact()

    def merge(self, other: "KindCounts") -> None:
        """Count all that another one has counted."""
        other._compact()
        self._compact()
        self._take(other._keys, other._counts)

    def totals(self, row: int) -> np.ndarray:
        """Counts of the kinds met in one row, in the order of the kinds."""
        self._compact()
        return self._counts[self._keys >> _KIND_BITS == row]

    def entropies(self, n_rows: int) -> tuple[np.ndarray, np.ndarray]:
        """Number of tokens [rows] and entropy [rows] of their kinds: log n - (1/n) sum over kinds c log c; NaN of none."""
        self._compact()
        row = self._keys >> _KIND_BITS
        n = np.bincount(row, self._counts, minlength=n_rows)
        weighted = np.bincount(row, self._counts * np.log(self._counts), minlength=n_rows)
        with np.errstate(divide="ignore", invalid="ignore"):
            entropy = np.log(n) - weighted / n
        return n.astype(np.int64), np.where(n > 0, np.maximum(entropy, 0.0), np.nan)

    def _compact(self) -> None:
        if self._pending:
            keys, counts = np.unique(np.concatenate(self._pending), return_counts=True)
            self._pending, self._n_pending = [], 0
            self._take(keys, counts)

    def _take(self, keys: np.ndarray, counts: np.ndarray) -> None:
        joined, place = np.unique(np.concatenate([self._keys, keys]), return_inverse=True)
        summed = np.zeros(len(joined), dtype=np.int64)
        np.add.at(summed, place, np.concatenate([self._counts, counts]))
        self._keys, self._counts = joined, summed


def chance_entropies(totals: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Mean entropy, in nats, of n [m] tokens drawn without replacement from tokens of which ``totals`` [kinds] are of each kind.

    Drawn with a fixed seed at up to 48 sizes, eight times each, and interpolated in log n between them. NaN for n = 0.
    """
    n = np.asarray(n, dtype=np.int64)
    found = np.full(len(n), np.nan)
    if not (n > 0).any():
        return found
    rng = np.random.default_rng(_SEED)
    most = int(n.max())
    sizes = np.unique(np.geomspace(1, most, _GRID).round().astype(np.int64))
    sizes = np.unique(n[n > 0]) if len(np.unique(n[n > 0])) <= _GRID else sizes
    mean = [np.mean([_entropy(_drawn(rng, totals, int(size))) for _ in range(_DRAWS)]) for size in sizes]
    found[n > 0] = np.interp(np.log(n[n > 0]), np.log(sizes), mean)
    return found


def _drawn(rng: np.random.Generator, totals: np.ndarray, size: int) -> np.ndarray:
    drawn: np.ndarray = rng.multivariate_hypergeometric(totals, size, method="marginals")
    return drawn


def _entropy(counts: np.ndarray) -> float:
    p = counts[counts > 0] / counts.sum()
    return float(max(-(p * np.log(p)).sum(), 0.0))
