"""The form of a run: its parameters, their descriptions, and the name of the run."""

from pathlib import PurePath
from typing import TYPE_CHECKING, Literal

from prefect.runtime import flow_run

from flows.settings import Settings, load_settings, profile_names
from warehouse.datasets.corpus_files import short_name

FORM = "settings below"
"""The choice of a form that takes the settings it shows."""
if TYPE_CHECKING:
    Profile = str
else:
    Profile = Literal[(FORM, *profile_names())]
    """Settings that a form offers: those it shows, or a profile by name."""
DEMO = load_settings("demo")
"""What a form shows at first."""
HELP = {
    "profile": "A profile replaces all settings below",
    "settings": "Settings of every stage; change what you like. All of them with type, default and meaning: "
    "docs/settings.md, `ato settings`, or the page Reference of the dashboard",
    "collection": "Key of a collection; default: that of the settings, collected first if it is missing",
    "sae_keys": "Keys of SAEs; default: those of the settings, made first if they are missing",
    "comparisons": "Keys of comparisons; default: those of the settings, made first if they are missing",
    "pair_keys": "Keys of layer pairs; default: those of the settings, fitted first if they are missing",
}
"""Description of each parameter in the form."""


def chosen(settings: Settings, profile: Profile) -> Settings:
    """Settings of a run: those given, unless a profile replaces them."""
    return settings if profile == FORM else load_settings(profile)


def run_name() -> str:
    """Name of a run before it starts: flow, model, layers, and the collection's key if it is known."""
    values = flow_run.parameters
    settings = chosen(Settings.model_validate(values.get("settings", DEMO)), values.get("profile", FORM))
    return name_of(flow_run.flow_name, settings, values.get("collection"))


def name_of(flow: str, settings: Settings, collection: str | None) -> str:
    """Name of a run of a flow on a collection; without a key the name of the corpus."""
    layers, model, corpus = settings.layers, PurePath(settings.model.name).name, short_name(settings.collect.corpus)
    return f"{flow} {model} L{layers[0]}-{layers[-1]} {collection or corpus}"
