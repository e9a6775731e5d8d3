"""Entities from records and files of a user: record form, CSV, and the raw Wikidata dumps of earlier studies."""

import csv
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from ato.entities.catalog import Attribute, Entity
from ato.entities.country_names import country_aliases
from ato.errors import InputError

_KEYS = {"entity", "entity_type", "attributes", "popularity", "source"}
_ATTRIBUTE_KEYS = {"attribute_type", "attribute_value", "aliases"}
_COLUMNS = ("entity", "entity_type", "attribute_type", "attribute_value")
_FORM = "write {entity, entity_type, attributes: [{attribute_type, attribute_value}]}"
_RAW = {
    "humanLabel": (
        "player",
        {
            "placebirthLabel": "place_birth",
            "datebirthyearLabel": "date_birth",
            "teamslist": "teams_list",
            "recent_mass": "weight",
            "recent_height": "height",
        },
    ),
    "filmLabel": (
        "movie",
        {
            "directors": "directors",
            "cast_list": "cast",
            "screenwriters": "screenwriters",
            "genres": "genres",
            "release_year": "release_year",
            "durations": "durations",
        },
    ),
    "cityLabel": (
        "city",
        {
            "countryLabel": "country",
            "loc": "location",
            "recent_population": "population",
            "above_sea_meters": "elevation",
        },
    ),
    "songLabel": (
        "song",
        {
            "albumLabel": "album",
            "publicationYear": "publication_year",
            "genres": "genres",
            "performers": "performers",
        },
    ),
}
"""Key that names the entity -> its type, and key of the dump -> attribute."""


def entities_of(records: Iterable[Mapping[str, Any]], where: object) -> list[Entity]:
    """Entities of records in record form, or of rows of a raw Wikidata dump, in their order.

    A record is ``{entity, entity_type, attributes: [{attribute_type, attribute_value, aliases?}], popularity?, source?}``.
    Attributes whose value is null or empty are missing. Rows of a dump are flat: their identifiers and other keys without
    a question are passed over.

    Raises:
        InputError: a record is malformed, has an unknown key, or there is none; says which by its number from 1.
    """
    return _entities(((f"{where}, record {i}", record) for i, record in enumerate(records, 1)), where)


def read_entities(path: Path) -> list[Entity]:
    """Entities of a ``.jsonl``, ``.json`` (a list) or ``.csv`` file (columns entity, entity_type, attribute_type,
    attribute_value and, if wanted, popularity; one row an attribute).

    Raises:
        InputError: the file is missing, of another kind, empty, not UTF-8 or malformed; says the line.
    """
    readers = {".jsonl": _json_lines, ".json": _json_list, ".csv": _csv_records}
    if path.suffix.lower() not in readers:
        raise InputError("entities cannot be read from such a file", where=path, cure=f"use {', '.join(readers)}")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (FileNotFoundError, IsADirectoryError):
        raise InputError("there is no such file of entities", where=path) from None
    except UnicodeDecodeError as error:
        raise InputError(f"the file is not UTF-8 at byte {error.start}", where=path) from None
    return _entities(readers[path.suffix.lower()](text, path), path)


def _entities(located: Iterable[tuple[str, Any]], where: object) -> list[Entity]:
    entities = [_entity(record, place, str(where)) for place, record in located]
    if not entities:
        raise InputError("there are no entities", where=where, cure=_FORM)
    return entities


def _entity(record: Any, where: str, source: str) -> Entity:
    if not isinstance(record, Mapping):
        raise InputError("a record is no mapping", where=where, cure=_FORM)
    if label := next((key for key in _RAW if key in record), None):
        return _raw_entity(record, label, where, source)
    if unknown := sorted(str(key) for key in record if key not in _KEYS):
        raise InputError(f"unknown key {', '.join(unknown)}", where=where, cure=f"use {', '.join(sorted(_KEYS))}")
    listed = record.get("attributes")
    if listed is None or isinstance(listed, str | bytes | Mapping) or not isinstance(listed, Iterable):
        raise InputError("attributes are missing or no list", where=where, cure=_FORM)
    entity_type = _text(record, "entity_type", where)
    attributes = (_attribute(item, entity_type, where) for item in listed)
    return Entity(
        entity_type,
        _text(record, "entity", where),
        _different((attribute for attribute in attributes if attribute is not None), where),
        source if record.get("source") is None else _text(record, "source", where),
        _number(record.get("popularity"), where),
    )


def _attribute(item: Any, entity_type: str, where: str) -> Attribute | None:
    if not isinstance(item, Mapping):
        raise InputError("an attribute is no mapping", where=where, cure=_FORM)
    if unknown := sorted(str(key) for key in item if key not in _ATTRIBUTE_KEYS):
        raise InputError(
            f"unknown key {', '.join(unknown)} of an attribute",
            where=where,
            cure=f"use {', '.join(sorted(_ATTRIBUTE_KEYS))}",
        )
    name = _text(item, "attribute_type", where).removeprefix(f"{entity_type}_")
    aliases = item.get("aliases")
    aliases = () if aliases is None else aliases
    if (
        isinstance(aliases, str | bytes | Mapping)
        or not isinstance(aliases, Iterable)
        or not all(isinstance(alias, str) for alias in aliases)
    ):
        raise InputError(f"aliases of {name} are no list of texts", where=where)
    if "attribute_value" not in item:
        raise InputError(f"attribute_value of {name} is missing", where=where, cure=_FORM)
    value = _value(item["attribute_value"], name, where)
    return None if value is None else _made(name, value, tuple(aliases))


def _made(name: str, value: str, aliases: tuple[str, ...] = ()) -> Attribute:
    common = country_aliases(value) if name == "country" else ()
    return Attribute(name, value, tuple(dict.fromkeys(aliases + common)))


def _raw_entity(record: Mapping[str, Any], label: str, where: str, source: str) -> Entity:
    entity_type, names = _RAW[label]
    attributes = [
        _made(name, value) for key, name in names.items() if (value := _value(record.get(key), name, where)) is not None
    ]
    name = record[label]
    if not isinstance(name, str):
        raise InputError(f"{label} is no text", where=where)
    popularity = _number(record.get("recent_population"), where)
    return Entity(entity_type, " ".join(name.split()), tuple(attributes), source, popularity)


def _different(attributes: Iterable[Attribute], where: str) -> tuple[Attribute, ...]:
    """The attributes; several of one name become one with all their values."""
    by_name: dict[str, Attribute] = {}
    for attribute in attributes:
        before = by_name.get(attribute.name)
        if before is not None:
            values = dict.fromkeys((before.value, attribute.value))
            aliases = dict.fromkeys(before.aliases + attribute.aliases)
            attribute = Attribute(attribute.name, ", ".join(values), tuple(aliases))
        by_name[attribute.name] = attribute
    return tuple(by_name.values())


def _text(record: Mapping[str, Any], key: str, where: str) -> str:
    value = record.get(key)
    if not isinstance(value, str):
        raise InputError(f"{key} is missing or no text", where=where, cure=_FORM)
    if key != "entity" and not value.strip():
        raise InputError(f"{key} is empty", where=where, cure=_FORM)
    return " ".join(value.split())


def _value(value: Any, name: str, where: str) -> str | None:
    if value is None or value != value or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise InputError(f"the value of {name} is neither text nor number", where=where)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return " ".join(str(value).split())


def _number(value: Any, where: str) -> float | None:
    if value is None or value == "":
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        raise InputError(f"popularity {value!r} is no number", where=where) from None
    return number if number == number else None


def _json_lines(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    for line, written in enumerate(text.split("\n"), 1):
        if not written.strip():
            continue
        try:
            yield f"{path}, line {line}", json.loads(written)
        except (ValueError, RecursionError) as error:
            raise InputError(f"the line is not JSON: {_problem(error)}", where=f"{path}, line {line}") from None


def _problem(error: Exception) -> str:
    """What is wrong with a JSON text: numbers may have too many digits, lists too many levels."""
    return "nested too deeply" if isinstance(error, RecursionError) else str(error).partition(";")[0]


def _json_list(text: str, path: Path) -> Iterator[tuple[str, Any]]:
    try:
        records = json.loads(text) if text.strip() else []
    except json.JSONDecodeError as error:
        raise InputError(f"the file is not JSON: {error.msg}", where=f"{path}, line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"the file is not JSON: {_problem(error)}", where=path) from None
    if not isinstance(records, list):
        raise InputError("the file is no list of records", where=path, cure=_FORM)
    decoder, line, after = json.JSONDecoder(), 1, 0
    at = text.find("[") + 1
    for record in records:
        while text[at] in ", \t\r\n":
            at += 1
        line, after = line + text.count("\n", after, at), at
        yield f"{path}, line {line}", record
        at = decoder.raw_decode(text, at)[1]


def _csv_records(text: str, path: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    reader = csv.DictReader(text.splitlines(keepends=True), strict=True)
    records: dict[tuple[str, str], tuple[str, dict[str, Any]]] = {}
    try:
        columns = reader.fieldnames or []
        if columns and (set(columns) - {"popularity"} != set(_COLUMNS) or len(set(columns)) < len(columns)):
            raise InputError(
                f"the columns are {', '.join(columns)}",
                where=f"{path}, line 1",
                cure=f"use {', '.join(_COLUMNS)} and, if wanted, popularity",
            )
        for row in reader:
            where = f"{path}, line {reader.line_num}"
            if None in row or None in row.values():
                raise InputError(f"the row has not {len(columns)} cells", where=where)
            key = row["entity_type"], row["entity"]
            empty: dict[str, Any] = {"entity": row["entity"], "entity_type": row["entity_type"], "attributes": []}
            _, record = records.setdefault(key, (where, empty | {"popularity": row.get("popularity")}))
            record["attributes"].append({name: row[name] for name in _COLUMNS[2:]})
    except csv.Error as error:
        raise InputError(f"the file is not CSV: {error}", where=f"{path}, line {reader.line_num}") from None
    yield from records.values()
