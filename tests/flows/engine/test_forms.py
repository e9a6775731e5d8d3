"""The form of a run: profiles to choose from, and the name of the run."""

import typing

import pytest
from prefect.utilities.names import generate_slug

from ato.errors import SettingsError
from flows.engine import forms
from flows.engine.forms import COMMON_SETTINGS, DEMO, FORM, Profile, chosen, is_generated, name_of, run_name
from flows.settings import Settings, load_settings, profile_names


def test_a_profile_takes_the_place_of_the_settings_and_none_leaves_them():
    assert set(typing.get_args(Profile)) == {FORM, *profile_names()}
    own = Settings.model_validate({"collect": {"n_tokens": 5}})
    assert chosen(own, FORM) is own
    assert chosen(own, "gpt2") == load_settings("gpt2")


def test_a_run_is_named_by_flow_model_layers_and_key():
    assert name_of("saes", DEMO, None) == "saes smollm2-135m L4-16 sotu"
    assert name_of("saes", DEMO, "key-1") == "saes smollm2-135m L4-16 key-1"


def test_common_settings_change_a_profile_and_an_opened_group_takes_the_place_of_its_own():
    gpt2 = load_settings("gpt2")
    found = chosen(DEMO, "gpt2", {"collect_n_tokens": 5}, {"saes": {"k": 7}, "features": None})
    assert found.collect == gpt2.collect.model_copy(update={"n_tokens": 5})
    assert found.saes == type(gpt2.saes)(k=7)
    assert found.operators == gpt2.operators
    assert chosen(DEMO, FORM, {}, {"saes": None}) is DEMO
    assert chosen(DEMO, FORM, {"saes_k": 9}, {"saes": {"k": 7}}).saes.k == 9
    with pytest.raises(ValueError, match="n_tokens"):
        chosen(DEMO, FORM, {"collect_n_tokens": 0})
    with pytest.raises(SettingsError):
        chosen(DEMO, "nonesuch")


def test_every_common_setting_changes_the_one_that_it_names():
    values = {"str": "other", "int": 3, "list": [2]}
    for name in COMMON_SETTINGS:
        group, setting = name.split(".")
        before = getattr(getattr(DEMO, group), setting)
        value = ["mean"] if setting == "methods" else values[type(before).__name__]
        after = chosen(DEMO, FORM, {name.replace(".", "_"): value})
        assert getattr(getattr(after, group), setting) == value
        assert [one for one in Settings.model_fields if getattr(after, one) != getattr(DEMO, one)] == [group]


def test_names_that_prefect_makes_up_are_told_from_those_that_people_type():
    assert all(is_generated(generate_slug(2)) for _ in range(2000))
    assert all(is_generated(name) for name in ("alpha-aquarii", "sigma6-leonis-majoris", "tau812-sato-void"))
    for typed in (
        "alpha",
        "alpha 3",
        "alphabet-soup",
        "my first run",
        "war",
        "layer-12",
        "collect smollm2-135m L4-16 sotu",
        "gpt2-run",
        "x-y",
    ):
        assert not is_generated(typed)


@pytest.mark.parametrize(("now", "named"), [("wise-otter", "saes smollm2-135m L4-16 sotu"), ("my run", "my run")])
def test_a_typed_name_is_kept(monkeypatch, now, named):
    class Run:
        name = now
        flow_name = "saes"
        parameters = {"settings": DEMO}

    monkeypatch.setattr(forms, "flow_run", Run)
    assert run_name() == named
