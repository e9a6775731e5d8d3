"""The form of a run: profiles to choose from, and the name of the run."""

import typing

from flows.engine.forms import DEMO, FORM, Profile, chosen, name_of
from flows.settings import Settings, load_settings, profile_names


def test_a_profile_takes_the_place_of_the_settings_and_none_leaves_them():
    assert set(typing.get_args(Profile)) == {FORM, *profile_names()}
    own = Settings.model_validate({"collect": {"n_tokens": 5}})
    assert chosen(own, FORM) is own
    assert chosen(own, "gpt2") == load_settings("gpt2")


def test_a_run_is_named_by_flow_model_layers_and_key():
    assert name_of("saes", DEMO, None) == "saes smollm2-135m L4-16 sotu"
    assert name_of("saes", DEMO, "key-1") == "saes smollm2-135m L4-16 key-1"
