"""The JSON schema from which Prefect's page draws the form of a flow.

The page has no groups that fold. It draws the first alternative of a value that is not given: so a group of settings is
``None`` or its fields, and closed at first. Fields without a default that may be left out stay empty.
"""

from collections.abc import Mapping
from copy import deepcopy
from typing import Any

from flows.engine.forms import COMMON_SETTINGS, HELP
from flows.settings import Settings
from flows.stages import FLOWS, STAGES, stages_of

FIRST = ("profile", "estimate", "common")
"""Parameters on top of every form, in order."""
LAST = "stages"
CLOSED, OPENED = "as deployed, or as the profile has it", "change"
ALWAYS = ("model", "fan_out")
"""Groups of settings that belong to no stage."""


def form_schema(flow: str, schema: Mapping[str, Any], settings: Settings) -> dict[str, Any]:
    """The schema of a flow's parameters, as its form has it.

    Args:
        flow: its name.
        schema: of all parameters, from their types.
        settings: shown by groups that are opened.
    """
    form = deepcopy(dict(schema))
    properties, definitions = form["properties"], form["definitions"]
    keys = [name for name in properties if name not in (*FIRST, LAST, "settings")]
    order = [*FIRST, *keys, LAST]
    form["properties"] = {
        name: properties[name] | {"position": place, "title": name, "description": HELP[name]}
        for place, name in enumerate(order)
    }
    for group in definitions.values():
        for name, field in group.get("properties", {}).items():
            field["title"] = name  # as in profiles, on the command line and in tables
    form["properties"]["common"] = _common(definitions.pop("Common"), settings) | {
        name: form["properties"]["common"][name] for name in ("position", "title", "description")
    }
    form["properties"][LAST] = _stages(flow, definitions, settings) | {
        name: form["properties"][LAST][name] for name in ("position", "title", "description")
    }
    form["definitions"] = _used(form["properties"], definitions)
    return form


def groups_of(flow: str, settings: Settings) -> list[str]:
    """Groups of settings that matter to a flow, in their order: those of its stages and of what its events start."""
    named = {stage.name for stage in stages_of(flow, settings)} | {flow}
    spec = FLOWS[flow]
    if not getattr(spec, "on_demand", False):  # a run of the chain hands its settings on
        named |= {name for name, stage in STAGES.items() if not stage.on_demand}
    return [name for name in Settings.model_fields if name in named or name in ALWAYS]


def _common(group: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """The common settings, each an empty field that says the deployed value."""
    fields = {}
    for place, name in enumerate(COMMON_SETTINGS):
        stage, setting = name.split(".")
        field = dict(group["properties"][name.replace(".", "_")])
        kinds = [kind for kind in field.pop("anyOf", []) if kind.get("type") != "null"]
        field |= kinds[0] if len(kinds) == 1 else {"anyOf": kinds} if kinds else {}
        field.pop("default", None)
        value = _shown(getattr(getattr(settings, stage), setting))
        field |= {"title": name, "position": place, "description": f"{field['description']}. Deployed: `{value}`"}
        fields[name.replace(".", "_")] = field
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _stages(flow: str, definitions: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """A group for each stage: closed, or its fields with the deployed values."""
    fields = {}
    for place, name in enumerate(groups_of(flow, settings)):
        kind = type(getattr(settings, name)).__name__
        own = deepcopy(definitions[kind])
        _set_defaults(own, getattr(settings, name).model_dump(mode="json"))
        described = own.pop("description", "")
        fields[name] = {
            "anyOf": [{"type": "null", "title": CLOSED}, own | {"title": OPENED}],
            "title": name,
            "position": place,
            "description": described.split("\n")[0],
        }
    return {"type": "object", "properties": fields, "additionalProperties": False}


def _set_defaults(group: dict[str, Any], values: Mapping[str, Any]) -> None:
    for place, (name, field) in enumerate(group["properties"].items()):
        field["position"] = place
        if name in values:
            field["default"] = values[name]


def _used(parts: Any, definitions: Mapping[str, Any]) -> dict[str, Any]:
    """The definitions that are referred to, also by each other."""
    used: dict[str, Any] = {}
    waiting = [parts]
    while waiting:
        part = waiting.pop()
        if isinstance(part, dict):
            name = str(part.get("$ref", "")).removeprefix("#/definitions/")
            if name in definitions and name not in used:
                used[name] = definitions[name]
                waiting.append(definitions[name])
            waiting += part.values()
        elif isinstance(part, list):
            waiting += part
    return used


def _shown(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
