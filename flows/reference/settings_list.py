"""Every setting with its type, default and meaning, as its class declares them."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import yaml
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from ato.operators.methods import METHODS
from ato.saes.training.methods import TRAINABLE
from flows.settings import Settings
from tasks.settings.operators import POLICY_PATTERN

PATTERNS = {POLICY_PATTERN: "position policy"}
"""Patterns that have a name of their own."""
REGISTRIES = {tuple(METHODS): "operator methods", tuple(TRAINABLE): "trainable architectures"}
"""Choices that a registry lists: who adds one changes no page."""


@dataclass(frozen=True)
class Setting:
    """One setting."""

    group: str
    """Stage, or part of one: ``entities.set``."""
    name: str
    type: str
    """In words, with the choices or the range."""
    default: str
    """As YAML, which is how it is written in a profile and after ``--set``."""
    meaning: str

    @property
    def path(self) -> str:
        """As ``--set`` takes it."""
        return f"{self.group}.{self.name}"


@dataclass(frozen=True)
class Group:
    """The settings of one stage, or of a part of one."""

    name: str
    meaning: str
    settings: tuple[Setting, ...]


def groups(of: type[BaseModel] = Settings, above: str = "") -> Iterator[Group]:
    """All groups in the order of the stages; parts of a stage follow it."""
    schema = of.model_json_schema()
    own = list[Setting]()
    for name, field in of.model_fields.items():
        kind = field.annotation
        if isinstance(kind, type) and issubclass(kind, BaseModel):
            if own:  # settings of the stage itself stand before its parts
                yield Group(above, _meaning(of), tuple(own))
                own = []
            yield from groups(kind, f"{above}.{name}" if above else name)
        else:
            words = _words(schema["properties"][name], schema.get("$defs", {}))
            own.append(Setting(above, name, words, _yaml(field.get_default()), field.description or ""))
    if own:
        yield Group(above, _meaning(of), tuple(own))


def _meaning(of: type[BaseModel]) -> str:
    return (of.__doc__ or "").splitlines()[0]


def _yaml(value: Any) -> str:
    """A value on one line, as YAML."""
    plain = to_jsonable_python(value)
    if isinstance(plain, list):
        return f"[{', '.join(map(_yaml, plain))}]"
    if isinstance(plain, dict):
        return "{" + ", ".join(f"{key}: {_yaml(inner)}" for key, inner in plain.items()) + "}"
    if isinstance(plain, str):
        return plain if yaml.safe_load(plain) == plain and "," not in plain else f'"{plain}"'
    if plain is None or isinstance(plain, bool):
        return {None: "null", True: "true", False: "false"}[plain]
    return f"{plain:g}" if isinstance(plain, float) else str(plain)


def _words(schema: Mapping[str, Any], definitions: Mapping[str, Any]) -> str:
    """The type of a JSON schema in words."""
    if "$ref" in schema:
        return _words(definitions[schema["$ref"].rsplit("/", 1)[1]], definitions)
    if "anyOf" in schema:
        return " or ".join(_words(part, definitions) for part in schema["anyOf"])
    if registry := REGISTRIES.get(tuple(schema.get("enum", ()))):
        return f"one of the {registry}"
    if "enum" in schema:
        return "one of " + ", ".join(f"`{value}`" for value in schema["enum"])
    if "const" in schema:
        return f"`{schema['const']}`"
    kind = schema.get("type", "value")
    if kind == "array" and "prefixItems" in schema:
        return f"({', '.join(_words(part, definitions) for part in schema['prefixItems'])})"
    if kind == "array":
        inner = _words(schema.get("items", {}), definitions)
        return f"list, each {inner}" if inner.startswith("one of") else f"list of {inner}"
    if "properties" in schema:  # settings of their own, such as those of one SAE of a study
        return f"mapping with any of {', '.join(f'`{name}`' for name in schema['properties'])}"
    if kind == "object":
        return f"mapping to {_words(schema.get('additionalProperties', {}), definitions)}"
    named = PATTERNS.get(schema.get("pattern", ""))
    words = {"integer": "whole number", "boolean": "true or false", "string": "text", "null": "null"}
    return (named or words.get(kind, kind)) + _range(schema)


def _range(schema: Mapping[str, Any]) -> str:
    signs = {"minimum": "≥", "exclusiveMinimum": ">", "maximum": "≤", "exclusiveMaximum": "<"}
    bounds = [f"{sign} {schema[name]:g}" for name, sign in signs.items() if name in schema]
    return f", {', '.join(bounds)}" if bounds else ""
