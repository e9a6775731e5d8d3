"""How well a score tells two classes apart: AUROC, its interval by unit, and its mean over types.

The units are whatever is scored: entities, texts, tokens' documents.
"""

from dataclasses import dataclass

import numpy as np

from ato.errors import InputError
from ato.numerics.intervals import MIN_DOCUMENTS, Estimate, EstimateArray, strata_interval, sure_limits
from ato.numerics.scales import PLAIN, SHARE, Scale

FIRST, SECOND = 1, 0
"""Labels of the two classes; all others are left out."""


@dataclass(frozen=True)
class TypeAurocs:
    """AUROC within each entity type, and their mean, which no difference between types can raise."""

    by_type: EstimateArray
    """[types]; NaN for a type that lacks a class."""
    mean: Estimate
    """Over the types that have both classes; None where none has."""
    n_first: np.ndarray
    """[types] int64, entities of the first class that have a score."""
    n_second: np.ndarray


def auroc(scores: np.ndarray, labels: np.ndarray) -> float:
    """Chance that an entity of the first class scores higher than one of the second, equal scores counting half.

    Args:
        scores: [n]; entities whose score is NaN are left out.
        labels: [n], 1 in the first class, 0 in the second; others are left out.

    Returns:
        NaN where a class is empty.

    Raises:
        InputError: there are not as many scores as labels.
    """
    return float(_Ranked.of(_columns(scores), labels).values()[0])


def auroc_interval(scores: np.ndarray, labels: np.ndarray) -> Estimate:
    """AUROC with its interval (95 %), by leaving out one entity of a class at a time.

    That is the variance of DeLong et al. (1988), carried over to the logit scale. A score that is the same for all entities
    has no limits: it says nothing of its error. Where no score of one class reaches the other, the
    AUROC is 1 (or 0) whoever is left out; its other limit is then that of Clopper and Pearson for as many successes in
    a row as the smaller class has entities. Limits are missing with fewer than ``MIN_DOCUMENTS`` entities in a class.

    Args:
        scores: as ``auroc`` takes them.
        labels: likewise.
    """
    return auroc_by_type(scores, labels, np.zeros(len(labels), dtype=np.int64), 1).by_type[0]


def auroc_by_type(scores: np.ndarray, labels: np.ndarray, types: np.ndarray, n_types: int) -> TypeAurocs:
    """AUROC within each type and their mean, entities left out within type and class.

    Args:
        scores: [n]; NaN is left out.
        labels: [n], 1, 0, or others, which are left out.
        types: [n] codes from 0 to n_types - 1.
        n_types: number of types.
    """
    ranked, only = _by_type(_columns(scores), labels, types, n_types), np.ones(1)
    counts = np.array([part.counts for part in ranked]).reshape(n_types, 2)
    found = [_mean([part], only, SHARE) for part in ranked]
    by_type = EstimateArray(
        *(np.array([getattr(of, name) for of in found], dtype=np.float64) for name in ("value", "low", "high"))
    )
    return TypeAurocs(by_type, _mean(ranked, only, SHARE), counts[:, FIRST], counts[:, SECOND])


def auroc_difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    types: np.ndarray | None = None,
) -> Estimate:
    """AUROC of the first score minus that of the second, on the same entities, of which one is left out of both.

    Args:
        first: [n] scores; an entity for which either is NaN is left out of both.
        second: likewise.
        labels: [n], 1, 0, or others, which are left out.
        types: [n] codes; with them the difference is that of the means over types.
    """
    codes = np.zeros(len(labels), dtype=np.int64) if types is None else types
    ranked = _by_type(_columns(first, second), labels, codes, int(codes.max(initial=0)) + 1)
    return _mean(ranked, np.array([1.0, -1.0]), PLAIN)


@dataclass(frozen=True)
class _Ranked:
    """Scores of the entities of both classes as levels: rank among the distinct scores of a column."""

    first: np.ndarray
    """[n_first, columns] int64, sorted, so that the order in which entities come changes no sum."""
    second: np.ndarray
    n_levels: tuple[int, ...]

    @classmethod
    def of(cls, columns: np.ndarray, labels: np.ndarray) -> "_Ranked":
        """Of columns [n, k] and labels [n]."""
        labels = np.asarray(labels)
        if labels.shape != (len(columns),):
            raise InputError(f"{len(columns)} scores and labels of shape {labels.shape}", cure="pass one label a score")
        columns_known = ~np.isnan(columns).any(axis=1)
        kept = columns_known & ((labels == FIRST) | (labels == SECOND))
        columns, labels = columns[kept], labels[kept]
        uniques = [np.unique(column, return_inverse=True) for column in columns.T]
        levels = np.stack([inverse.reshape(-1) for _, inverse in uniques], axis=1)
        first, second = (levels[labels == label] for label in (FIRST, SECOND))
        return cls(
            first[np.lexsort(first.T)], second[np.lexsort(second.T)], tuple(len(values) for values, _ in uniques)
        )

    @property
    def counts(self) -> tuple[int, int]:
        """Entities of the second and of the first class."""
        return len(self.second), len(self.first)

    def values(self) -> np.ndarray:
        """[columns] AUROC; NaN where a class is empty."""
        if not all(self.counts):
            return np.full(len(self.n_levels), np.nan)
        found = []
        for column, size in enumerate(self.n_levels):
            first, second = (np.bincount(part[:, column], minlength=size)[None] for part in (self.first, self.second))
            found.append(_area(first, second)[0])
        return np.array(found)

    def placements(self) -> tuple[np.ndarray, np.ndarray]:
        """Share of the other class that each entity beats, or is beaten by, ties half: [n_first, columns], [n_second, columns]."""
        first, second = np.zeros(self.first.shape), np.zeros(self.second.shape)
        for column, size in enumerate(self.n_levels):
            own, other = self.first[:, column], self.second[:, column]
            n_own, n_other = np.bincount(own, minlength=size), np.bincount(other, minlength=size)
            first[:, column] = (np.cumsum(n_other) - n_other / 2)[own] / len(other)
            second[:, column] = 1 - (np.cumsum(n_own) - n_own / 2)[other] / len(own)
        return first, second


def _area(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """AUROC [b] from counts [b, levels] of both classes, levels ascending: pairs won, ties half, over all pairs."""
    # Twice the entities of the second class below a level, those in it once: whole numbers, so exact.
    below = 2 * np.cumsum(second, axis=1) - second
    won: np.ndarray = (first * below).sum(1) / (2.0 * first.sum(1) * second.sum(1))
    return won


def _mean(ranked: list[_Ranked], weights: np.ndarray, scale: Scale) -> Estimate:
    """Weighted sum of the columns' AUROCs, averaged over the types that have both classes."""
    usable = [part for part in ranked if all(part.counts)]
    if not usable:
        return Estimate(None)
    value = float(np.mean([part.values() @ weights for part in usable]))
    smaller = min(np.sum([part.counts for part in usable], axis=0))
    if smaller < MIN_DOCUMENTS or min(min(part.counts) for part in usable) < 2:
        return Estimate(value)
    if scale is SHARE and value in (0.0, 1.0):
        return Estimate(value, *sure_limits(value, smaller))
    strata = [placed @ weights for part in usable for placed in part.placements()]
    if not any(x.any() for x in strata):  # both scores order every entity alike
        return Estimate(value, value, value)
    without = [value + (x.mean() - x) / (len(x) - 1) / len(usable) for x in strata]
    low, high = strata_interval(value, without, scale)
    return Estimate(value, low, high)


def _by_type(columns: np.ndarray, labels: np.ndarray, types: np.ndarray, n_types: int) -> list[_Ranked]:
    labels, types = np.asarray(labels), np.asarray(types)
    if types.shape != labels.shape or (len(types) and not 0 <= types.min() <= types.max() < n_types):
        raise InputError(f"types must be [{len(labels)}] integers from 0 to {n_types - 1}")
    if labels.shape != (len(columns),):
        raise InputError(f"{len(columns)} scores and labels of shape {labels.shape}", cure="pass one label a score")
    return [_Ranked.of(columns[types == number], labels[types == number]) for number in range(n_types)]


def _columns(*scores: np.ndarray) -> np.ndarray:
    """[n, k] float64."""
    return np.stack([np.asarray(part, dtype=np.float64) for part in scores], axis=1)
