"""Entities and their attributes: identity, duplicates, split and draw, each decided by hashes and never by order."""

import hashlib
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from ato.entities.words import words_of
from ato.errors import SettingsError

SPLITS = ("train", "validation", "test")
_SPLIT_TENTHS = {"train": 5, "validation": 6, "test": 10}


@dataclass(frozen=True)
class Attribute:
    """A fact about an entity; several right answers stand in ``value``, separated by commas."""

    name: str
    """Without the type of the entity: ``country``, not ``city_country``."""
    value: str
    aliases: tuple[str, ...] = ()
    """Other right answers."""


@dataclass(frozen=True)
class Entity:
    """Something with a name that a model may know."""

    entity_type: str
    name: str
    attributes: tuple[Attribute, ...]
    source: str
    """Where the facts came from, with the licence of text."""
    popularity: float | None = None
    """Comparable within a source and type only: inhabitants, reviews. None where it is not known."""
    invented: bool = False
    """A control made of parts of real names."""

    @property
    def entity_id(self) -> str:
        """First 16 hex digits of SHA-256 of type and name; invented entities never share one with real ones."""
        key = f"{self.entity_type}\n{self.name}"
        return hashlib.sha256((f"invented\n{key}" if self.invented else key).encode()).hexdigest()[:16]

    def attribute(self, name: str) -> Attribute | None:
        """The attribute of that name, if the entity has it."""
        return next((attribute for attribute in self.attributes if attribute.name == name), None)


def entity_split(entity_id: str, seed: int) -> str:
    """``train`` (50 %), ``validation`` (10 %) or ``test`` (40 %), from SHA-256(``seed:entity_id``) alone."""
    value = int.from_bytes(hashlib.sha256(f"{seed}:{entity_id}".encode()).digest())
    return next(name for name, tenths in _SPLIT_TENTHS.items() if 10 * value < tenths << 256)


def distinct(entities: Iterable[Entity]) -> tuple[list[Entity], Counter[str]]:
    """One entity of each id, in the order in which ids first came, and how many were left out by reason.

    Of entities with the same id the most popular stays, the first of those equally popular. Reasons are ``empty name``,
    ``no attribute`` (real entities only) and ``duplicate``.
    """
    kept: dict[str, Entity] = {}
    left_out: Counter[str] = Counter()
    for entity in entities:
        if not entity.name.strip():
            left_out["empty name"] += 1
        elif not entity.attributes and not entity.invented:
            left_out["no attribute"] += 1
        else:
            other = kept.get(entity.entity_id)
            left_out["duplicate"] += other is not None
            if other is None or _popularity(entity) > _popularity(other):
                kept[entity.entity_id] = entity
    return list(kept.values()), +left_out


def draw(entities: Iterable[Entity], n: int, seed: int) -> list[Entity]:
    """At most n entities of each type: half of them the most popular, the others drawn uniformly from the rest.

    Where popularity is unknown all are drawn uniformly. The draw ranks entities by a hash of seed and id that is
    independent of ``entity_split``: it depends neither on the order of the input nor, but for the places that newcomers
    take, on which other entities there are. The result is sorted by type, then by that rank.

    Raises:
        SettingsError: n is negative.
    """
    if n < 0:
        raise SettingsError(f"{n} entities cannot be drawn", cure="draw 0 or more")
    by_type: dict[str, list[Entity]] = {}
    for entity in sorted(entities, key=lambda entity: _rank(entity, seed)):
        by_type.setdefault(entity.entity_type, []).append(entity)
    drawn = []
    for entity_type in sorted(by_type):
        ranked = by_type[entity_type]
        known = [i for i, entity in enumerate(ranked) if entity.popularity is not None]
        popular = sorted(known, key=lambda i: -_popularity(ranked[i]))[: -(-n // 2)]
        chosen = set(popular)
        chosen |= set([i for i in range(len(ranked)) if i not in chosen][: n - len(chosen)])
        drawn += [ranked[i] for i in sorted(chosen)]
    return drawn


def without_answers_in_names(name: str, attributes: Iterable[Attribute]) -> tuple[Attribute, ...]:
    """The attributes whose values do not stand in the name: that Mexico City lies in Mexico is no knowledge."""
    words = f" {' '.join(words_of(name))} "
    return tuple(
        attribute
        for attribute in attributes
        if not any(f" {' '.join(words_of(part))} " in words for part in attribute.value.split(",") if words_of(part))
    )


def _popularity(entity: Entity) -> float:
    return float("-inf") if entity.popularity is None else entity.popularity


def _rank(entity: Entity, seed: int) -> str:
    return hashlib.sha256(f"draw\n{seed}\n{entity.entity_id}".encode()).hexdigest()
