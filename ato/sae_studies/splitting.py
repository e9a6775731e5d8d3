"""Which earlier feature each final feature of an SAE came from, and which features split into several."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import SettingsError
from ato.sae_studies.snapshots import Snapshot

_CHUNK = 1024
"""Rows of the product of decoder rows that are held at once."""


@dataclass(frozen=True)
class Parents:
    """The parent of each final feature, arrays [d_sae].

    The parent of a feature f that is active in the final snapshot is the feature, among those active at f's birth
    snapshot, whose decoder row *there* has the largest cosine with f's *final* row (the first of equal ones), as long as
    that cosine reaches the least one. It is f itself where f's own row was the nearest already. A feature has split
    where it is the parent of two or more final features, itself counted if it is its own parent.
    """

    parent: np.ndarray
    """int64; -1 where no row is near enough, and for features that are not active in the final snapshot."""
    cosine: np.ndarray
    """Largest cosine, near enough or not; NaN for features that are not active in the final snapshot."""
    cosine_by_chance: np.ndarray
    """Median of the largest cosine if the rows of that snapshot were random directions."""
    n_siblings: np.ndarray
    """int64, final features with the same parent, this one included; 0 without a parent."""

    @property
    def split(self) -> np.ndarray:
        """[d_sae] bool: came from a feature that other final features came from too."""
        return self.n_siblings > 1


def find_parents(
    snapshots: Sequence[Snapshot], born: np.ndarray, counts: np.ndarray, least_cosine: float = 0.5
) -> Parents:
    """Parents of the features of the last snapshot.

    Args:
        snapshots: in the order of their steps.
        born: [d_sae] int64, first snapshot at which each feature is active; -1 for never.
        counts: [snapshots, d_sae] tokens on which each is active.
        least_cosine: cosine below which no row is a parent.

    Raises:
        SettingsError: a least cosine beyond 0 to 1.
    """
    if not 0 < least_cosine <= 1:
        raise SettingsError(f"a least cosine of {least_cosine:g} for parents", cure="choose one above 0, up to 1")
    n = len(born)
    parent, cosine, by_chance = np.full(n, -1), np.full(n, np.nan), np.full(n, np.nan)
    lasting = counts[-1] > 0
    final = snapshots[-1].sae.decoder_directions.detach().double().cpu().numpy()
    for s in np.unique(born[lasting]):
        candidates = np.flatnonzero(counts[s] > 0)
        rows = snapshots[s].sae.decoder_directions.detach().double().cpu().numpy()[candidates]
        children = np.flatnonzero(lasting & (born == s))
        for start in range(0, len(children), _CHUNK):
            chunk = children[start : start + _CHUNK]
            products = final[chunk] @ rows.T
            best = products.argmax(1)
            cosine[chunk] = np.clip(products[np.arange(len(chunk)), best], -1.0, 1.0)
            parent[chunk] = candidates[best]
        by_chance[children] = median_largest_cosine(len(candidates), final.shape[1])
    parent[~(cosine >= least_cosine)] = -1
    children_of = np.bincount(parent[parent >= 0], minlength=n)
    return Parents(parent, cosine, by_chance, np.where(parent >= 0, children_of[parent], 0))


def median_largest_cosine(n: int, d: int) -> float:
    """Median of the largest cosine of a direction in d >= 2 dimensions with n independent uniform ones.

    (1 + cosine) / 2 of two uniform directions has the Beta((d - 1) / 2, (d - 1) / 2) distribution. NaN for d = 1, n = 0.
    """
    from scipy.special import betaincinv

    if d < 2 or n < 1:
        return float("nan")
    half = (d - 1) / 2
    return float(2 * betaincinv(half, half, 0.5 ** (1 / n)) - 1)
