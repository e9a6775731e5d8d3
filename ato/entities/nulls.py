"""What chance alone would give: permuted labels, exact tests of single latents, and corrections for having tried many."""

from dataclasses import dataclass

import numpy as np

from ato.entities.groups import FIRST, EntityGroups
from ato.errors import SettingsError
from ato.numerics.counter_rng import uniforms

_ROUNDING = 1e-12
"""Separations closer than this are equal."""


@dataclass(frozen=True)
class Permutations:
    """How labels are permuted for the maximum statistic.

    Equal seeds permute the labels of the same entities in the same way, whatever the SAE, so that maxima over several
    SAEs can be combined.

    Raises:
        SettingsError: fewer than 19 permutations, from which no p < 0.05 can be read.
    """

    n: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        if self.n < 19:
            raise SettingsError(f"{self.n} permutations are too few", cure="use at least 19 (default: 1000)")

    def labels(self, groups: EntityGroups) -> np.ndarray:
        """Permuted labels of train entities, packed bits [n, ceil(permutations / 8)] uint8.

        In every permutation and type, as many entities are in the first class as truly are. Rows of entities of
        neither class and of other splits are 0.
        """
        packed = np.zeros((groups.n, -(-self.n // 8)), dtype=np.uint8)
        for number in range(groups.n_types):
            rows = np.flatnonzero(groups.members("train") & (groups.entity_type == number))
            n_first = int((groups.label[rows] == FIRST).sum())
            if not 0 < n_first < len(rows):
                continue
            for start in range(0, self.n, 64):  # draws of 64 permutations at a time
                numbers = np.arange(start, min(start + 64, self.n))
                drawn = uniforms(self.seed, numbers[:, None], groups.key[rows][None])  # [64, rows]
                chosen = np.argpartition(drawn, n_first - 1, axis=1)[:, :n_first]
                labels = np.zeros(drawn.shape, dtype=bool)
                np.put_along_axis(labels, chosen, True, axis=1)
                packed[rows, start // 8 : -(-(start + len(numbers)) // 8)] = np.packbits(labels.T, axis=1)
        return packed


@dataclass(frozen=True)
class NullMaxima:
    """The largest statistic of any latent under each permutation of the labels."""

    over_types: np.ndarray
    """[permutations] largest ``strength`` (see ``TypeScores``); NaN where no type has both classes."""
    by_type: np.ndarray
    """[types, permutations] largest |separation| within each type."""

    def __or__(self, other: "NullMaxima") -> "NullMaxima":
        """The maxima over the latents of both: of all SAEs of one family."""
        return NullMaxima(np.maximum(self.over_types, other.over_types), np.maximum(self.by_type, other.by_type))


def max_statistic_p(observed: np.ndarray, maxima: np.ndarray) -> np.ndarray:
    """p of the maximum statistic: (1 + permutations whose maximum is at least the observed value) / (1 + permutations).

    It holds for all latents at once (family-wise): under random labels, the chance that any latent has p <= 0.05 is
    at most 5 % (Westfall and Young, 1993).

    Args:
        observed: [...] statistics; NaN stays NaN.
        maxima: [permutations] of ``NullMaxima``.
    """
    if np.isnan(maxima).any():
        return np.full(np.shape(observed), np.nan)
    ordered = np.sort(maxima)
    reached = len(ordered) - np.searchsorted(ordered, np.asarray(observed) - _ROUNDING, side="left")
    return np.where(np.isnan(observed), np.nan, (1 + reached) / (1 + len(ordered)))


@dataclass(frozen=True)
class FisherP:
    """p of Fisher's exact test of each latent, two-sided by doubling; NaN for latents that were never active."""

    by_type: np.ndarray
    """[types, d_sae]; NaN in a type without both classes."""
    over_types: np.ndarray
    """[d_sae] of "it fires more in the same class in every type": the largest one-sided p over the types (the
    intersection-union test of Berger, 1982), doubled for the two directions."""


def fisher_p(n_active: np.ndarray, n_entities: np.ndarray) -> FisherP:
    """Exact tests of whether a latent is active on a larger share of one class.

    The active entities of the first class follow the hypergeometric law given how many are active in all.

    Args:
        n_active: [2, types, d_sae] entities with the latent active, second class at index 0.
        n_entities: [2, types].
    """
    n_types, d_sae = n_active.shape[1:]
    more = np.full((n_types, d_sae), np.nan)  # p that the first class fires more
    fewer = np.full((n_types, d_sae), np.nan)
    for number, (n_second, n_first) in enumerate(n_entities.T.tolist()):
        if n_first and n_second:
            more[number], fewer[number] = _tails(n_active[1, number], n_active.sum(0)[number], n_first, n_second)
    silent = n_active.sum((0, 1)) == 0
    doubled = np.minimum(2 * np.minimum(more, fewer), 1.0)
    usable = n_entities.all(axis=0)
    over = np.full(d_sae, np.nan)
    if usable.any():
        over = np.minimum(2 * np.minimum(more[usable].max(0), fewer[usable].max(0)), 1.0)
    by_type = np.where(n_active.sum(0) == 0, np.nan, doubled)
    return FisherP(by_type, np.where(silent, np.nan, over))


def _tails(first: np.ndarray, both: np.ndarray, n_first: int, n_second: int) -> tuple[np.ndarray, np.ndarray]:
    """P(X >= first) and P(X <= first), each [d_sae]; many latents share their counts."""
    from scipy.stats import hypergeom

    pairs, inverse = np.unique(np.stack([first, both]), axis=1, return_inverse=True)
    law = n_first + n_second, n_first, pairs[1]
    upper, lower = hypergeom.sf(pairs[0] - 1, *law), hypergeom.cdf(pairs[0], *law)
    inverse = inverse.reshape(-1)
    return np.clip(upper, 0, 1)[inverse], np.clip(lower, 0, 1)[inverse]
