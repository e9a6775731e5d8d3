"""The entities of a contrast as arrays: type, class, split and key of each, and what is missing for a comparison."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from ato.errors import InputError

SPLITS = ("train", "validation", "test")
"""Latents are chosen on train, thresholds and strengths on validation; what is published is from test."""
FIRST, SECOND, LEFT_OUT = 1, 0, -1
"""Labels: the first class of a contrast (known, correct), the second (unknown, wrong), neither."""
KNOWN_UNKNOWN, CORRECT_WRONG = ("known", "unknown"), ("correct", "wrong")
"""The contrasts, first class first."""


@dataclass(frozen=True, eq=False)
class EntityGroups:
    """What is known of n entities beside their residuals; row i of every array is the same entity.

    Raises:
        InputError: arrays of different lengths, an unknown code, or two entities with one key.
    """

    entity_type: np.ndarray
    """[n] integers, index into ``type_names``."""
    label: np.ndarray
    """[n] integers: 1 in the first class of the contrast, 0 in the second, -1 in neither."""
    split: np.ndarray
    """[n] integers, index into ``SPLITS``."""
    key: np.ndarray
    """[n] uint64, distinct: what draws depend on, so that the order of the rows changes nothing."""
    type_names: tuple[str, ...]
    contrast: tuple[str, str] = KNOWN_UNKNOWN
    """Names of the classes, the first one first."""

    def __post_init__(self) -> None:
        n = len(self.key)
        limits = {
            "entity_type": (0, len(self.type_names)),
            "label": (LEFT_OUT, FIRST + 1),
            "split": (0, len(SPLITS)),
        }
        for name, (low, high) in limits.items():
            codes = np.asarray(getattr(self, name))
            if codes.shape != (n,) or codes.dtype.kind not in "iu":
                raise InputError(f"{name} must be [{n}] integers", where=f"{codes.dtype} of shape {codes.shape}")
            if n and not (low <= int(codes.min()) and int(codes.max()) < high):
                raise InputError(f"{name} must be integers from {low} to {high - 1}")
        if len(np.unique(self.key)) != n:
            raise InputError("two entities have the same key", cure="give each entity one row")

    @classmethod
    def of(
        cls,
        entity_ids: Sequence[str],
        types: Sequence[str],
        labels: Sequence[str],
        splits: Sequence[str],
        contrast: tuple[str, str] = KNOWN_UNKNOWN,
    ) -> "EntityGroups":
        """Groups of entities by their words: ids of 16 hex digits, types, labels and splits, each [n].

        Labels that are neither class of the contrast (between, abstain) leave their entity out. Types are numbered
        by name.

        Raises:
            InputError: an unknown split, an id that is not hexadecimal, or an entity that comes twice.
        """
        if unknown := set(splits) - set(SPLITS):
            raise InputError(f"unknown split {sorted(unknown)[0]!r}", cure=f"use {', '.join(SPLITS)}")
        names = tuple(sorted(set(types)))
        class_of = {contrast[0]: FIRST, contrast[1]: SECOND}
        try:
            keys = np.array([int(name, 16) for name in entity_ids], dtype=np.uint64)
        except (ValueError, OverflowError):
            raise InputError("an entity_id is not 16 hexadecimal digits", cure="use Entity.entity_id") from None
        return cls(
            np.array([names.index(name) for name in types], dtype=np.int64),
            np.array([class_of.get(label, LEFT_OUT) for label in labels], dtype=np.int64),
            np.array([SPLITS.index(split) for split in splits], dtype=np.int64),
            keys,
            names,
            contrast,
        )

    @property
    def n(self) -> int:
        """Number of entities, those of neither class included."""
        return len(self.key)

    @property
    def n_types(self) -> int:
        """Number of entity types."""
        return len(self.type_names)

    def members(self, *splits: str) -> np.ndarray:
        """[n] bool: the entities of both classes in some splits."""
        return (self.label != LEFT_OUT) & np.isin(self.split, [SPLITS.index(name) for name in splits])

    @cached_property
    def counts(self) -> np.ndarray:
        """[splits, 2, types] int64 entities: of the second class at index 0, of the first at index 1."""
        counts = np.zeros((len(SPLITS), 2, self.n_types), dtype=np.int64)
        labelled = self.label != LEFT_OUT
        np.add.at(counts, (self.split[labelled], self.label[labelled], self.entity_type[labelled]), 1)
        return counts

    @property
    def comparable(self) -> bool:
        """Whether some type has train entities of both classes."""
        return bool(self.counts[0].all(axis=0).any())

    def gaps(self) -> list[str]:
        """A sentence for every type that lacks a class in a split, and one if there is only one type."""
        found = []
        for number, name in enumerate(self.type_names):
            lacking = []
            for label, kind in zip((FIRST, SECOND), self.contrast, strict=True):
                splits = [split for row, split in enumerate(SPLITS) if not self.counts[row, label, number]]
                where = f" in {', '.join(splits)}" if len(splits) < len(SPLITS) else ""
                lacking += [f"no {kind} entity{where}"] if splits else []
            if lacking:
                found.append(f"type {name} has {' and '.join(lacking)}: its scores are missing")
        if self.n_types == 1:
            found.append(f"{self.type_names[0]} is the only type: cross-type scores are missing")
        return found

    def only(self, mask: np.ndarray) -> "EntityGroups":
        """The same entities, of which those outside the mask [n] belong to neither class."""
        return replace(self, label=np.where(mask, self.label, LEFT_OUT))
