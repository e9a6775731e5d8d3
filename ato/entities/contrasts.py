"""How well a score tells two classes of entities apart: AUROC, its interval by entity, and across entity types."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ato.entities.groups import FIRST, SECOND
from ato.errors import InputError
from ato.numerics.bootstrap import DEFAULT_BOOTSTRAP, Bootstrap, Estimate, EstimateArray, percentile_limits

_CHUNK_NUMBERS = 4_000_000
"""Numbers a chunk of resamples may hold at once (32 MB)."""


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


def auroc_interval(scores: np.ndarray, labels: np.ndarray, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP) -> Estimate:
    """AUROC with its percentile interval (95 %) from resampling entities within each class.

    Limits are missing with fewer than two entities in a class. Where no score of one class reaches the other class,
    every resample gives the same AUROC and the interval has no width: it then says less than the number of entities.

    Args:
        scores: as ``auroc`` takes them.
        labels: likewise.
        bootstrap: equal seeds give equal limits, whatever the order of the entities.
    """
    return auroc_by_type(scores, labels, np.zeros(len(labels), dtype=np.int64), 1, bootstrap).by_type[0]


def auroc_by_type(
    scores: np.ndarray,
    labels: np.ndarray,
    types: np.ndarray,
    n_types: int,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> TypeAurocs:
    """AUROC within each type and their mean, entities resampled within type and class.

    Args:
        scores: [n]; NaN is left out.
        labels: [n], 1, 0, or others, which are left out.
        types: [n] codes from 0 to n_types - 1.
        n_types: number of types.
        bootstrap: number of resamples and seed.
    """
    found = _by_type(_columns(scores), labels, types, n_types, bootstrap)
    counts = np.array([part.counts for part in found.ranked]).reshape(n_types, 2)
    by_type = _estimates(found.values[:, 0], found.resampled[:, :, 0])
    return TypeAurocs(by_type, found.mean(0), counts[:, FIRST], counts[:, SECOND])


def auroc_difference(
    first: np.ndarray,
    second: np.ndarray,
    labels: np.ndarray,
    types: np.ndarray | None = None,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> Estimate:
    """AUROC of the first score minus that of the second, on the same entities and the same resamples of them.

    Args:
        first: [n] scores; an entity for which either is NaN is left out of both.
        second: likewise.
        labels: [n], 1, 0, or others, which are left out.
        types: [n] codes; with them the difference is that of the means over types.
        bootstrap: number of resamples and seed.
    """
    codes = np.zeros(len(labels), dtype=np.int64) if types is None else types
    found = _by_type(_columns(first, second), labels, codes, int(codes.max(initial=0)) + 1, bootstrap)
    return found.difference()


@dataclass(frozen=True)
class CrossTypeChoice:
    """For each type, the latent that is best on all other types."""

    latent: np.ndarray
    """[types] int64; -1 where no other type has both classes."""
    direction: np.ndarray
    """[types] int8: 1 if it fires more in the first class of the others, -1 if in the second, 0 without a latent."""


def chosen_on_other_types(
    separation: np.ndarray, direction: int | None = None, allowed: np.ndarray | None = None
) -> CrossTypeChoice:
    """The latent of largest strength over the other types, for each type; of equal ones the first.

    Strength is the smallest separation of any other type in the latent's direction. Types whose separation is NaN
    choose nothing.

    Args:
        separation: [types, d] on train, of the latents of one or of several SAEs side by side.
        direction: 1 or -1 to choose among latents of one class only; None for either.
        allowed: [d] bool, such as latents that are silent on ordinary text.
    """
    n_types = len(separation)
    latent, sign = np.full(n_types, -1), np.zeros(n_types, dtype=np.int8)
    known = np.isfinite(separation).all(axis=1)
    for number in range(n_types):
        others = separation[known & (np.arange(n_types) != number)]
        if not len(others) or (allowed is not None and not allowed.any()):
            continue
        lowest, highest = others.min(0), -others.max(0)
        if direction is not None:
            lowest, highest = (lowest, lowest) if direction > 0 else (highest, highest)
        strength = np.maximum(lowest, highest)
        strength = strength if allowed is None else np.where(allowed, strength, -np.inf)
        if not strength.max() > 0:
            continue  # no latent fires more in one class of all other types
        latent[number] = strength.argmax()
        one = lowest[latent[number]] >= highest[latent[number]]
        sign[number] = direction if direction is not None else 1 if one else -1
    return CrossTypeChoice(latent, sign)


def cross_type_aurocs(
    activations: np.ndarray,
    choice: CrossTypeChoice,
    labels: np.ndarray,
    types: np.ndarray,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
) -> TypeAurocs:
    """AUROC on each type of the latent that was chosen on the other types, in the direction it has there.

    Args:
        activations: [n, types], column t of the latent chosen for type t; read for the entities of type t only.
        choice: what was chosen; a type without a latent has a missing AUROC.
        labels: [n] of test entities: 1, 0, or others, which are left out.
        types: [n] codes.
        bootstrap: number of resamples and seed.
    """
    own = np.asarray(activations, dtype=np.float64)[np.arange(len(types)), types]
    sign = choice.direction[types].astype(np.float64)
    scores = np.where(sign == 0, np.nan, own * sign)
    return auroc_by_type(scores, labels, types, len(choice.latent), bootstrap)


@dataclass(frozen=True)
class _Ranked:
    """Scores of the entities of both classes as levels: rank among the distinct scores of a column."""

    first: np.ndarray
    """[n_first, columns] int64, sorted, so that the order in which entities come changes no resample."""
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

    def resampled(self, bootstrap: Bootstrap, stream: int) -> np.ndarray:
        """[resamples, columns] AUROC of entities drawn with replacement within class; NaN with fewer than two in one."""
        estimates = np.full((bootstrap.n_resamples, len(self.n_levels)), np.nan)
        if min(self.counts) < 2:
            return estimates
        draws = zip(self._draws(self.first, bootstrap, stream, 1), self._draws(self.second, bootstrap, stream, 0))
        for (rows, first), (_, second) in draws:
            for column, size in enumerate(self.n_levels):
                counts = (
                    _counted(part[:, column][drawn], size)
                    for part, drawn in ((self.first, first), (self.second, second))
                )
                estimates[rows, column] = _area(*counts)
        return estimates

    def _draws(
        self, part: np.ndarray, bootstrap: Bootstrap, stream: int, label: int
    ) -> Iterator[tuple[slice, np.ndarray]]:
        """Runs of resamples and the rows [b, n] drawn for them; a class has its own numbers."""
        rng = np.random.default_rng([bootstrap.seed, stream, label])
        step = max(1, _CHUNK_NUMBERS // (sum(self.counts) + sum(self.n_levels)))
        for start in range(0, bootstrap.n_resamples, step):
            rows = slice(start, min(start + step, bootstrap.n_resamples))
            yield rows, rng.integers(len(part), size=(rows.stop - start, len(part)))


def _counted(levels: np.ndarray, n_levels: int) -> np.ndarray:
    """[b, n_levels] how often each level is in each row of levels [b, n]."""
    b = len(levels)
    return np.bincount((levels + np.arange(b)[:, None] * n_levels).ravel(), minlength=b * n_levels).reshape(b, n_levels)


def _area(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """AUROC [b] from counts [b, levels] of both classes, levels ascending: pairs won, ties half, over all pairs."""
    # Twice the entities of the second class below a level, those in it once: whole numbers, so exact.
    below = 2 * np.cumsum(second, axis=1) - second
    won: np.ndarray = (first * below).sum(1) / (2.0 * first.sum(1) * second.sum(1))
    return won


@dataclass(frozen=True)
class _ByType:
    ranked: list[_Ranked]
    values: np.ndarray
    """[types, columns]."""
    resampled: np.ndarray
    """[resamples, types, columns]."""

    def mean(self, column: int) -> Estimate:
        """Mean over the types that have both classes."""
        value, resampled = self._over_types()
        return _estimates(value[column], resampled[:, column]).item()

    def difference(self) -> Estimate:
        """The first column minus the second, of the means over types."""
        value, resampled = self._over_types()
        return _estimates(value[0] - value[1], resampled[:, 0] - resampled[:, 1]).item()

    def _over_types(self) -> tuple[np.ndarray, np.ndarray]:
        usable = ~np.isnan(self.values[:, 0])
        if not usable.any():
            columns = self.values.shape[1]
            return np.full(columns, np.nan), np.full((len(self.resampled), columns), np.nan)
        return self.values[usable].mean(0), self.resampled[:, usable].mean(1)


def _by_type(columns: np.ndarray, labels: np.ndarray, types: np.ndarray, n_types: int, bootstrap: Bootstrap) -> _ByType:
    labels, types = np.asarray(labels), np.asarray(types)
    if types.shape != labels.shape or (len(types) and not 0 <= types.min() <= types.max() < n_types):
        raise InputError(f"types must be [{len(labels)}] integers from 0 to {n_types - 1}")
    if labels.shape != (len(columns),):
        raise InputError(f"{len(columns)} scores and labels of shape {labels.shape}", cure="pass one label a score")
    ranked = [_Ranked.of(columns[types == number], labels[types == number]) for number in range(n_types)]
    resampled = [part.resampled(bootstrap, number) for number, part in enumerate(ranked)]
    return _ByType(ranked, np.stack([part.values() for part in ranked]), np.stack(resampled, axis=1))


def _columns(*scores: np.ndarray) -> np.ndarray:
    """[n, k] float64."""
    return np.stack([np.asarray(part, dtype=np.float64) for part in scores], axis=1)


def _estimates(value: np.ndarray, resampled: np.ndarray) -> EstimateArray:
    """Values [...] with the limits of resampled [b, ...], widened to hold the value."""
    value = np.asarray(value)
    low, high = percentile_limits(resampled)
    return EstimateArray(value, np.fmin(low, value + 0 * low), np.fmax(high, value + 0 * high))
