"""Label spaces: the properties that features are classified by and the values each may take, ours or from a YAML file.

name: animals
properties:
  - name: kind
    meaning: What kind of animal is meant?
    values:
      - {name: pet, meaning: lives with people, words: [cat, dog]}
      - {name: wild, meaning: lives without them}
  - name: fur
    meaning: What is its fur like?
    when: {kind: pet}          # asked only where kind is pet
    values: [{name: long, meaning: longer than a finger}, {name: short, meaning: shorter than that}]
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ato.errors import SettingsError

_OWN = Path(__file__).parent / "spaces"


@dataclass(frozen=True)
class LabelValue:
    """One value that a property may take."""

    name: str
    meaning: str
    words: frozenset[str] = frozenset()
    """Case-folded words that point to it; for the token overlap judge."""


@dataclass(frozen=True)
class LabelProperty:
    """One thing that is said of a feature."""

    name: str
    meaning: str
    values: tuple[LabelValue, ...]
    when: tuple[str, str] | None = None
    """An earlier property and the value of it without which this one is not asked."""

    def applies(self, values: Mapping[str, str | None]) -> bool:
        """Whether it is asked, given the values of earlier properties."""
        return self.when is None or values.get(self.when[0]) == self.when[1]


@dataclass(frozen=True)
class LabelSpace:
    """Properties in the order in which they are asked."""

    name: str
    properties: tuple[LabelProperty, ...]

    def checked(self, values: object) -> tuple[dict[str, str | None], str | None]:
        """A judge's values as they may be stored, and why some are missing.

        Returns:
            Every property of the space with its value: None where it does not apply, was not given, or is none of its
            values; and the reason, None where nothing is missing that applies.
        """
        given: Mapping[str, Any] = values if isinstance(values, Mapping) else {}
        found: dict[str, str | None] = {}
        wrong: list[str] = []
        for of in self.properties:
            value, known = given.get(of.name), {value.name for value in of.values}
            found[of.name] = value if of.applies(found) and isinstance(value, str) and value in known else None
            if of.applies(found) and found[of.name] is None:
                wrong.append(f"{of.name} not given" if value is None else f"{of.name} is {str(value)[:40]!r}")
        return found, "; ".join(wrong) or None


def label_space(name: str) -> LabelSpace:
    """A label space of this package, by its name, or one's own, by the path of its YAML file.

    Raises:
        SettingsError: there is none, or it is not well-formed: the message says where.
    """
    own = _OWN / f"{name}.yaml"
    file = own if own.parent == _OWN and own.is_file() else Path(name)
    if not file.is_file():
        known = ", ".join(sorted(path.stem for path in _OWN.glob("*.yaml")))
        raise SettingsError(f"no label space {name!r}", cure=f"use {known} or the path of a YAML file")
    import yaml

    try:
        found = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError) as error:
        raise SettingsError("not YAML", where=file, cure=" ".join(str(error).split())[:200]) from error
    return parse_label_space(found, file)


def parse_label_space(record: object, where: object = None) -> LabelSpace:
    """A label space from what its file holds.

    Args:
        record: as above.
        where: named in errors.

    Raises:
        SettingsError: a key is missing, unknown or of the wrong type, or a name stands twice.
    """
    space = _Record.of(record, f"{where or 'label space'}", required=("name", "properties"))
    properties: list[LabelProperty] = []
    for number, entry in enumerate(space.many("properties"), 1):
        one = _Record.of(entry, f"{space.where}, property {number}", ("name", "meaning", "values"), ("when",))
        values = tuple(_value(value, f"{one.where}, value {i}") for i, value in enumerate(one.many("values"), 1))
        _no_name_twice([value.name for value in values], one.where)
        properties.append(LabelProperty(one.text("name"), one.text("meaning"), values, _condition(one, properties)))
    _no_name_twice([of.name for of in properties], space.where)
    return LabelSpace(space.text("name"), tuple(properties))


def _value(entry: object, where: str) -> LabelValue:
    one = _Record.of(entry, where, required=("name", "meaning"), optional=("words",))
    words = one.many("words") if "words" in one.entries else []
    if wrong := [word for word in words if not isinstance(word, str)]:
        raise SettingsError(f"the word {wrong[0]!r} is not text", where=where, cure="put it between quotes")
    return LabelValue(one.text("name"), one.text("meaning"), frozenset(word.casefold() for word in words))


def _condition(one: "_Record", earlier: list[LabelProperty]) -> tuple[str, str] | None:
    when = one.entries.get("when")
    if when is None:
        return None
    known = [(of.name, value.name) for of in earlier for value in of.values]
    pair = next(iter(when.items())) if isinstance(when, dict) and len(when) == 1 else None
    if pair not in known:
        cure = "give one earlier property and one of its values, as in `when: {category: domain}`"
        raise SettingsError(f"when: {when!r} cannot be met", where=one.where, cure=cure)
    return pair


def _no_name_twice(names: list[str], where: str) -> None:
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise SettingsError(f"the name {twice[0]!r} stands twice", where=where, cure="give each its own")


@dataclass(frozen=True)
class _Record:
    """A mapping of a file, with where it stands."""

    entries: dict[str, Any]
    where: str

    @classmethod
    def of(cls, record: object, where: str, required: tuple[str, ...], optional: tuple[str, ...] = ()) -> "_Record":
        if not isinstance(record, dict):
            raise SettingsError(f"no record of {', '.join(required)}", where=where, cure="see the example in the docs")
        if unknown := sorted(map(str, set(record) - {*required, *optional})):
            raise SettingsError(
                f"unknown key {unknown[0]!r}", where=where, cure=f"use {', '.join(required + optional)}"
            )
        if missing := [key for key in required if record.get(key) in (None, "", [])]:
            raise SettingsError(f"{missing[0]} is missing", where=where, cure="add it")
        return cls(record, where)

    def text(self, key: str) -> str:
        """A text that is not blank; YAML reads yes, no and numbers as something else."""
        value = self.entries[key]
        if not isinstance(value, str) or not value.strip():
            raise SettingsError(f"{key}: {value!r} is not text", where=self.where, cure="put it between quotes")
        return value.strip()

    def many(self, key: str) -> list[Any]:
        """A list."""
        value = self.entries[key]
        if not isinstance(value, list):
            raise SettingsError(f"{key} is not a list", where=self.where, cure="begin each entry with a dash")
        return value
