"""JSON schemas of the replies that judges give: objects without further properties, in what strict servers take."""

from collections.abc import Iterable, Mapping
from typing import Any

Schema = dict[str, Any]


def description_schema() -> Schema:
    """``{"description": "..."}``."""
    return _object({"description": {"type": "string"}})


def verdicts_schema(n: int) -> Schema:
    """``{"answers": [true, false, ...]}``, one of each of n texts."""
    return _object({"answers": {"type": "array", "items": {"type": "boolean"}, "minItems": n, "maxItems": n}})


def intruder_schema(n: int) -> Schema:
    """``{"intruder": 1 ... n}``."""
    return _object({"intruder": {"type": "integer", "enum": list(range(1, n + 1))}})


def classification_schema(properties: Mapping[str, Iterable[str]]) -> Schema:
    """``{property: value, ...}``, each of the property's values."""
    return _object({name: {"type": "string", "enum": list(values)} for name, values in properties.items()})


def _object(properties: Mapping[str, Schema]) -> Schema:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }
