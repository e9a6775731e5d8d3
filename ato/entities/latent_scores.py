"""How differently the latents of an SAE fire on two classes of entities: sums over a stream, scores and null maxima."""

from dataclasses import dataclass

import numpy as np

from ato.entities.groups import FIRST, SECOND, SPLITS, EntityGroups
from ato.entities.nulls import FisherP, NullMaxima, Permutations, fisher_p
from ato.errors import InputError, MismatchError, SettingsError
from ato.saes.autoencoder import ActiveFeatures

EPSILON = 1e-6
"""Added to a share that divides, as in the study."""
_CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding: the latent is constant."""
_CHUNK_NUMBERS = 500_000
"""Permuted separations made at once (4 MB)."""


@dataclass(frozen=True)
class TypeScores:
    """Scores of every latent on the entities of one split; NaN where a type lacks one of the classes.

    A latent is active on an entity where the SAE's own encoder says so; means are over all entities of a class,
    those with activation 0 included. Signs are those of the first class (known, correct) minus the second.
    """

    n_first: np.ndarray
    """[types] int64, entities of the first class."""
    n_second: np.ndarray
    f_first: np.ndarray
    """[types, d_sae], share of the first class on which the latent is active (f_known)."""
    f_second: np.ndarray
    separation: np.ndarray
    """[types, d_sae], ``f_first - f_second``."""
    relative_difference: np.ndarray
    """[types, d_sae], the separation over the smaller share (plus 1e-6)."""
    mean_first: np.ndarray
    """[types, d_sae], mean activation."""
    mean_second: np.ndarray
    mean_difference: np.ndarray
    welch_t: np.ndarray
    """[types, d_sae], mean difference over sqrt(var / n + var / n), variances with n - 1. NaN with fewer than two
    entities in a class, and where neither class varies (the study has 0 there)."""
    separation_min: np.ndarray
    """[d_sae], smallest separation of any type that has both classes: positive where the latent fires more in the
    first class in all of them."""
    separation_max: np.ndarray
    """[d_sae], largest; negative where the latent fires more in the second class in all types."""
    separation_mean: np.ndarray
    """[d_sae], over types."""

    @property
    def strength(self) -> np.ndarray:
        """[d_sae] smallest separation of any type in the latent's own direction, max(min_t s, min_t -s).

        It is what latents are ranked by; negative where the types disagree.
        """
        return np.maximum(self.separation_min, -self.separation_max)

    @property
    def direction(self) -> np.ndarray:
        """[d_sae] int8: 1 for latents of the first class, -1 for those of the second, 0 without a score.

        A latent that fits neither better, such as one that is never active, counts as one of the first.
        """
        lowest, highest = self.separation_min, self.separation_max
        return np.where(np.isnan(lowest), 0, np.where(lowest >= -highest, 1, -1)).astype(np.int8)


class LatentScores:
    """Accumulates how often, and how strongly, each latent of one SAE is active in each class, type and split.

    Sums are [splits x classes x types, d_sae], whatever the number of entities (an entity takes one bit a permutation
    and a few bytes). With permutations, active train entities are also counted under permuted labels, one sparse
    product a block: 2 bytes x types x latents that fire x permutations.

    Args:
        d_sae: latents of the SAE.
        groups: the entities; ``update`` names them by their row.
        permutations: of the labels, within type, of train entities; None for no ``null_maxima``.
    """

    def __init__(self, d_sae: int, groups: EntityGroups, permutations: Permutations | None = None):
        self.d_sae, self.groups, self._permutations = d_sae, groups, permutations
        n_cells = len(SPLITS) * 2 * groups.n_types
        cell = (groups.split * 2 + groups.label) * groups.n_types + groups.entity_type
        self._cell = np.where(groups.label >= 0, cell, -1)
        self._n_active = np.zeros(n_cells * d_sae, dtype=np.int64)
        self._sum, self._squares = np.zeros(n_cells * d_sae), np.zeros(n_cells * d_sae)
        self._seen = np.zeros(groups.n, dtype=bool)
        self._labels = None if permutations is None else permutations.labels(groups)
        # Zeroed memory is taken from the system as it is written: latents that never fire cost nothing.
        kind = np.int16 if groups.n < np.iinfo(np.int16).max else np.int32
        shape = (groups.n_types, d_sae, 0 if permutations is None else permutations.n)
        self._first_active = np.zeros(shape, dtype=kind)

    def update(self, rows: np.ndarray, active: ActiveFeatures) -> "LatentScores":
        """Take some entities into account.

        Args:
            rows: [active.n] row in the groups of each encoded residual.
            active: encodings of the entities' residuals at one position, those without an active latent too.

        Raises:
            InputError: the rows are not as many, not in the groups, or an entity comes a second time.
            MismatchError: the SAE has other latents.
        """
        rows = self._new_rows(rows, active.n)
        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        value = active.value.cpu().numpy().astype(np.float64)
        if len(feature) and feature.max() >= self.d_sae:
            raise MismatchError(f"latent {feature.max()} of an SAE with {self.d_sae}", cure="use one SAE throughout")
        self._seen[rows] = True
        row = rows[token]
        labelled = self._cell[row] >= 0
        row, feature, value = row[labelled], feature[labelled], value[labelled]
        place = self._cell[row] * self.d_sae + feature
        np.add.at(self._n_active, place, 1)
        np.add.at(self._sum, place, value)
        np.add.at(self._squares, place, value**2)
        if self._labels is not None:
            self._count_permuted(row, feature)
        return self

    def _new_rows(self, rows: np.ndarray, n: int) -> np.ndarray:
        rows = np.asarray(rows)
        if rows.shape != (n,) or rows.dtype.kind not in "iu":
            raise InputError(f"rows must be [{n}] integers", where=f"{rows.dtype} of shape {rows.shape}")
        if n and not 0 <= rows.min() <= rows.max() < self.groups.n:
            raise InputError(f"rows must be from 0 to {self.groups.n - 1}")
        if self._seen[rows].any() or len(np.unique(rows)) < n:
            raise InputError("an entity came twice", cure="pass each entity's residual at a position once")
        return rows.astype(np.int64)

    def _count_permuted(self, row: np.ndarray, feature: np.ndarray) -> None:
        """Count active train entities that each permutation puts into the first class, by type and latent."""
        from scipy.sparse import csr_array

        assert self._labels is not None
        assert self._permutations is not None
        train = self.groups.split[row] == SPLITS.index("train")
        for number in range(self.groups.n_types):
            here = train & (self.groups.entity_type[row] == number)
            entities, entity = np.unique(row[here], return_inverse=True)
            latents, latent = np.unique(feature[here], return_inverse=True)
            ones = np.ones(len(entity), dtype=self._first_active.dtype)
            active = csr_array((ones, (latent, entity)), shape=(len(latents), len(entities)))
            labels = np.unpackbits(self._labels[entities], axis=1, count=self._permutations.n)
            self._first_active[number, latents] += active @ labels.astype(self._first_active.dtype)

    def __add__(self, other: "LatentScores") -> "LatentScores":
        """The sums over the entities of both.

        Raises:
            MismatchError: they are of other latents, entities or permutations.
            InputError: an entity is in both.
        """
        if (self.d_sae, self._permutations) != (other.d_sae, other._permutations) or self.groups is not other.groups:
            raise MismatchError("scores of different SAEs or entities cannot be added", cure="add those of one SAE")
        if (self._seen & other._seen).any():
            raise InputError("an entity came twice", cure="pass each entity's residual at a position once")
        total = LatentScores.__new__(LatentScores)
        vars(total).update(vars(self))
        for name in ("_n_active", "_sum", "_squares", "_seen", "_first_active"):
            setattr(total, name, getattr(self, name) + getattr(other, name))
        return total

    def n_entities(self, split: str) -> np.ndarray:
        """[2, types] int64 entities seen, the second class at index 0."""
        return self._entities()[_row(split)]

    def _entities(self) -> np.ndarray:
        cells = self._cell[self._seen & (self._cell >= 0)]
        counts = np.bincount(cells, minlength=len(SPLITS) * 2 * self.groups.n_types)
        return counts.reshape(len(SPLITS), 2, self.groups.n_types)

    def _table(self, sums: np.ndarray, split: str) -> np.ndarray:
        """Sums [2, types, d_sae] of a split."""
        return sums.reshape(len(SPLITS), 2, self.groups.n_types, self.d_sae)[_row(split)]

    def n_active(self, split: str) -> np.ndarray:
        """[2, types, d_sae] int64 entities on which each latent is active, the second class at index 0."""
        return self._table(self._n_active, split).copy()

    def firing_rate(self, split: str = "train") -> np.ndarray:
        """[d_sae] share of all entities of both classes on which each latent is active; NaN without entities."""
        n = self.n_entities(split).sum()
        return self.n_active(split).sum((0, 1)) / (n or np.nan)

    def scores(self, split: str = "train") -> TypeScores:
        """Scores on the entities of a split that were seen."""
        n = self.n_entities(split)[..., None].astype(np.float64)
        n_active, total = self._table(self._n_active, split), self._table(self._sum, split)
        with np.errstate(invalid="ignore", divide="ignore"):
            share, mean = n_active / n, total / n
            square = self._table(self._squares, split) / n
            variance = np.where(square - mean**2 > _CONSTANT * square, square - mean**2, 0.0) * n / (n - 1)
            variance[np.broadcast_to(n < 2, variance.shape)] = np.nan
            error = np.sqrt((variance / n).sum(0))
            difference = mean[FIRST] - mean[SECOND]
            welch_t = np.where(error > 0, difference / error, np.nan)
        separation = _separation(n_active[FIRST], n_active.sum(0), n[FIRST], n[SECOND])
        usable = n.all(axis=0).ravel()
        lowest, highest, middle = (
            reduce(separation[usable], axis=0) if usable.any() else np.full(self.d_sae, np.nan)
            for reduce in (np.min, np.max, np.mean)
        )
        counts = self.n_entities(split)
        return TypeScores(
            counts[FIRST],
            counts[SECOND],
            share[FIRST],
            share[SECOND],
            separation,
            separation / (share.min(0) + EPSILON),
            mean[FIRST],
            mean[SECOND],
            difference,
            welch_t,
            lowest,
            highest,
            middle,
        )

    def fisher_p(self, split: str = "train") -> FisherP:
        """Exact tests of each latent by itself; correct those of a family with ``benjamini_hochberg``."""
        return fisher_p(self._table(self._n_active, split), self.n_entities(split))

    def null_maxima(self) -> NullMaxima:
        """The largest statistics of any latent on train entities under permuted labels.

        Combine those of all SAEs of a family with ``|`` before ``max_statistic_p`` reads them.

        Raises:
            SettingsError: no permutations were asked for.
            InputError: a train entity has not been seen: permuted classes would not be complete.
        """
        if self._permutations is None:
            raise SettingsError("there are no permutations", cure="pass permutations=Permutations()")
        if not self._seen[self.groups.members("train")].all():
            raise InputError("some train entities have not been seen", cure="leave them out with EntityGroups.only")
        entities = self.n_entities("train")
        active = self._table(self._n_active, "train").sum(0)  # [types, d_sae]
        usable = np.flatnonzero(entities.all(axis=0))
        by_type = np.full((self.groups.n_types, self._permutations.n), np.nan)
        if not len(usable):
            return NullMaxima(np.full(self._permutations.n, np.nan), by_type)
        latents = np.flatnonzero(active.any(axis=0))
        # A latent that is silent everywhere separates by 0, whatever the labels.
        over = np.full(self._permutations.n, 0.0 if len(latents) < self.d_sae else -np.inf)
        by_type[usable] = 0.0
        step = max(1, _CHUNK_NUMBERS // (self._permutations.n * len(usable)))
        n = entities[:, usable, None, None].astype(np.float64)
        for start in range(0, len(latents), step):
            chunk = np.ix_(usable, latents[start : start + step])
            s = _separation(self._first_active[chunk], active[chunk][..., None], n[FIRST], n[SECOND])
            over = np.maximum(over, np.maximum(s.min(0), -s.max(0)).max(0))
            by_type[usable] = np.maximum(by_type[usable], np.abs(s).max(1))
        return NullMaxima(over, by_type)


def _separation(first: np.ndarray, both: np.ndarray, n_first: np.ndarray, n_second: np.ndarray) -> np.ndarray:
    """f_first - f_second from active entities of the first class and of both; the same rounding for true and permuted."""
    with np.errstate(invalid="ignore", divide="ignore"):
        missing = np.where(n_first * n_second > 0, 0.0, np.nan)
        return np.clip(first * (1 / n_first + 1 / n_second) - both / n_second + missing, -1, 1)  # not 1 + 2e-16


def _row(split: str) -> int:
    if split not in SPLITS:
        raise SettingsError(f"unknown split {split!r}", cure=f"use {', '.join(SPLITS)}")
    return SPLITS.index(split)


def best_latents(strength: np.ndarray, allowed: np.ndarray | None = None, n: int | None = None) -> np.ndarray:
    """Latents by falling strength, of equal ones the smaller number first; those that are not allowed or NaN are left out.

    Args:
        strength: [d] of ``TypeScores``, or a column of it such as ``-separation_max``.
        allowed: [d] bool, such as those that are silent on ordinary text.
        n: how many at most.
    """
    usable = ~np.isnan(strength) if allowed is None else allowed & ~np.isnan(strength)
    order = np.argsort(-np.where(usable, strength, -np.inf), kind="stable")
    return order[: int(usable.sum())][:n]
