"""What the form of a run asks for, and what a run is called."""

from pathlib import PurePath
from typing import Literal

from prefect.runtime import flow_run

from flows.settings import Settings, load_settings

Profile = Literal["settings below", "demo", "gemma-2-2b", "gemma-2-9b", "gpt2", "pythia-160m"]
"""Settings that a form offers: those it shows, or a profile by name."""
FORM: Profile = "settings below"
DEMO = load_settings("demo")
"""What a form shows at first."""
HELP = {
    "profile": "A profile takes the place of all settings below",
    "settings": "Settings of every stage, as shown: change what you like",
    "collection": "Key of a collection; none: the one that the settings name, made first if it is not there",
    "sae_keys": "Keys of SAEs; none: those that the settings name, made first if they are not there",
    "pair_keys": "Keys of pairs of layers; none: those that the settings name, fitted first if they are not there",
}
"""What the form says about each parameter."""


def chosen(settings: Settings, profile: Profile) -> Settings:
    """Settings of a run: those given, unless a profile is named in their place."""
    return settings if profile == FORM else load_settings(profile)


def run_name() -> str:
    """Flow, model, layers, and the collection's key where it is known before the run: the name of a run."""
    values = flow_run.parameters
    settings = chosen(Settings.model_validate(values.get("settings", DEMO)), values.get("profile", FORM))
    return name_of(flow_run.flow_name, settings, values.get("collection"))


def name_of(flow: str, settings: Settings, collection: str | None) -> str:
    """Name of a run of a flow on a collection; before there is one, its corpus stands in the place of the key."""
    layers, model, corpus = settings.layers, PurePath(settings.model.name).name, PurePath(settings.collect.corpus).stem
    return f"{flow} {model} L{layers[0]}-{layers[-1]} {collection or corpus}"
