"""The entity sets: those that are built in, by name, and a user's files."""

from collections.abc import Callable, Mapping
from pathlib import Path

from ato.entities.articles import people, works
from ato.entities.catalog import Entity
from ato.entities.films import films
from ato.entities.places import cities, countries
from ato.entities.records import read_entities
from ato.errors import InputError

SETS: Mapping[str, Callable[[], list[Entity]]] = {
    "cities": cities,
    "countries": countries,
    "films": films,
    "people": people,
    "works": works,
}
"""Built-in sets; duplicates are still in them (``catalog.distinct``)."""


def read_set(name_or_path: str) -> list[Entity]:
    """The entities of a built-in set or of a ``.jsonl``, ``.json`` or ``.csv`` file, duplicates included.

    Raises:
        InputError: no such set or file, or a malformed one (with the line).
        UnavailableError, DamagedFileError: the package with a built-in set is missing or not the published one.
    """
    if name_or_path in SETS:
        return SETS[name_or_path]()
    if not Path(name_or_path).suffix:
        raise InputError(
            f"unknown entity set {name_or_path!r}",
            cure=f"use {', '.join(SETS)} or a .jsonl, .json, .csv or .parquet file",
        )
    return read_entities(Path(name_or_path))
