"""The form of a run: its parameters, what they change of the settings, and the name of the run."""

import re
from functools import lru_cache
from pathlib import PurePath
from typing import TYPE_CHECKING, Annotated, Any, Literal

from prefect.runtime import flow_run
from pydantic import Field, create_model

from flows.settings import Settings, load_settings, profile_names, settings_of
from tasks.settings.base import StageSettings
from warehouse.datasets.corpus_files import short_name

FORM = "settings below"
"""The choice of a form that takes the settings with which it was deployed, and what is changed below."""
if TYPE_CHECKING:
    Profile = str
else:
    Profile = Literal[(FORM, *profile_names())]
    """Settings that a form offers: those with which it was deployed, or a profile by name."""
DEMO = load_settings("demo")
"""Settings of a run that is given none."""
COMMON_SETTINGS = (
    "model.name",
    "model.device",
    "collect.corpus",
    "collect.n_tokens",
    "saes.layers",
    "saes.d_sae",
    "saes.k",
    "operators.source_layers",
    "operators.leaps",
    "operators.methods",
)
"""The ten settings that are changed most, on top of every form."""


def _common() -> dict[str, Any]:
    fields: dict[str, Any] = {}
    for name in COMMON_SETTINGS:
        group, setting = name.split(".")
        own = Settings.model_fields[group].annotation.model_fields[setting]  # type: ignore[union-attr]
        annotation = own.annotation
        for constraint in own.metadata:
            annotation = Annotated[annotation, constraint]
        fields[name.replace(".", "_")] = (annotation | None, Field(None, title=name, description=own.description))
    return fields


Common: type[StageSettings] = create_model("Common", __base__=StageSettings, **_common())
"""The common settings, each None where it stays as it is."""
Common.__doc__ = "The settings that are changed most."
Stages: type[StageSettings] = create_model(
    "Stages",
    __base__=StageSettings,
    **{name: (field.annotation | None, None) for name, field in Settings.model_fields.items()},  # type: ignore[operator,call-overload]
)
"""All settings by stage, each group None where it stays as it is."""
Stages.__doc__ = "All settings, by stage."
_STAR = re.compile(
    r"(alpha|beta|gamma|delta|epsilon|zeta|eta|theta|iota|kappa|lambda|mu|nu|xi|omicron|pi|rho|sigma|tau|upsilon|phi|chi|psi|omega)"
    r"\d*-[a-z]+(-[a-z]+){0,2}"
)
HELP = {
    "profile": "A built-in profile, or the settings with which the form was deployed. What is filled in below changes it",
    "estimate": "Only estimate time, memory and disk: the run ends within seconds with a table among its artifacts, and starts nothing",
    "common": "The ten settings that are changed most. An empty field leaves the profile's value",
    "stages": "All settings by stage. A group that is opened shows the deployed values, and takes the place of the profile's group",
    "settings": "Settings of every stage, with which the form was deployed or which an earlier flow hands over",
    "collection": "Key of a collection; default: that of the settings, collected first if it is missing",
    "sae_keys": "Keys of SAEs; default: those of the settings, made first if they are missing",
    "comparisons": "Keys of comparisons; default: those of the settings, made first if they are missing",
    "pair_keys": "Keys of layer pairs; default: those of the settings, fitted first if they are missing",
}
"""Description of each parameter in the form."""


def chosen(settings: Settings, profile: Profile, common: Any = None, stages: Any = None) -> Settings:
    """Settings of a run: those given, or a profile instead; then groups that were opened, then the common settings.

    Args:
        settings: with which the form was deployed, or which an earlier flow handed over.
        profile: its name, or ``FORM``.
        common: a ``Common``, or its values by name.
        stages: a ``Stages``, or its values by name.

    Raises:
        FaultySettings: values that fit each other nowhere.
    """
    settings = settings if profile == FORM else load_settings(profile)
    groups = _given(Stages, stages)
    single = _given(Common, common)
    if not groups and not single:
        return settings
    values = settings.model_dump() | {name: group.model_dump() for name, group in groups.items()}
    for name, value in single.items():
        group, setting = next(one for one in COMMON_SETTINGS if one.replace(".", "_") == name).split(".")
        values[group] = values[group] | {setting: value}
    return settings_of(values)


def _given(kind: type[StageSettings], values: Any) -> dict[str, Any]:
    """The fields that were filled in."""
    found = kind.model_validate(values or {}) if not isinstance(values, kind) else values
    return {name: getattr(found, name) for name in kind.model_fields if getattr(found, name) is not None}


def run_name() -> str:
    """Name of a run before it starts: the one that a person typed; else flow, model, layers, and the collection if it is known."""
    now = flow_run.name
    if now and not is_generated(now):
        return now
    values = flow_run.parameters
    settings = Settings.model_validate(values.get("settings", DEMO))
    settings = chosen(settings, values.get("profile", FORM), values.get("common"), values.get("stages"))
    name = name_of(flow_run.flow_name, settings, values.get("collection"))
    return f"estimate of {name}" if values.get("estimate") else name


def name_of(flow: str, settings: Settings, collection: str | None) -> str:
    """Name of a run of a flow on a collection; without a key the name of the corpus."""
    layers, model, corpus = settings.layers, PurePath(settings.model.name).name, short_name(settings.collect.corpus)
    return f"{flow} {model} L{layers[0]}-{layers[-1]} {collection or corpus}"


def is_generated(name: str) -> bool:
    """Whether Prefect made a run's name up.

    Its server takes an adjective and an animal (``wise-otter``), the page of a form a star, by its Greek letter
    (``alpha3-aquarii``, ``sigma-leonis-void``): a name that a person types like a star's is taken for one.
    """
    words = name.split("-")
    return bool(_STAR.fullmatch(name)) or (len(words) > 1 and all(word in _made_up() for word in words))


@lru_cache(maxsize=1)
def _made_up() -> frozenset[str]:
    """Words of which Prefect's server makes names."""
    from coolname.data import config

    parts: list[Any] = list(config.values())
    lists = [one.get("words", ()) for one in parts]
    phrases = [phrase for one in parts for phrase in one.get("phrases", ())]
    words = [word for phrase in phrases for word in (phrase.split() if isinstance(phrase, str) else phrase)]
    return frozenset([*(word for words in lists for word in words), *words, "of", "from"])
