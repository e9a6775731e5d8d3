"""What ``prefect.yaml`` declares: every flow, the events between them, forms that Prefect's pages can draw."""

import re
import typing
from contextlib import nullcontext
from pathlib import Path

import pytest
import yaml

from ato.errors import AtoError, LayerError
from flows.cli import FlowName
from flows.engine import stage_run
from flows.engine.forms import DEMO, FORM, HELP, Profile, chosen, name_of
from flows.local.deployments import POOLS, ROOT, check_server, declared, occasions
from flows.settings import Settings, load_settings, profile_names

DEPLOYMENTS = {deployment.name: deployment for deployment in declared()}


def starts(event: str, **labels: str) -> set[str]:
    """Flows that an event with these labels starts."""
    return {
        name
        for name, deployment in DEPLOYMENTS.items()
        for trigger in deployment.triggers
        if event in trigger["expect"] and trigger.get("match", {}).items() <= labels.items()
    }


def chain_from(settings: Settings, both_there: bool) -> list[set[str]]:
    """Flows started by each event of a study with these settings."""
    labels = {
        "ato.operators-follow": "features" if stage_run.needs_features(settings) else "collect",
        "ato.can-intervene": "yes" if settings.can_intervene else "no",
    }
    events = [f"ato.{name}.complete" for name in DEPLOYMENTS] + ([stage_run.BOTH] if both_there else [])
    return [starts(event, **labels) for event in events]


def test_every_flow_has_a_deployment_whose_entrypoint_is_the_flow():
    assert set(DEPLOYMENTS) == set(typing.get_args(FlowName))
    for name, deployment in DEPLOYMENTS.items():
        assert deployment.entry["entrypoint"] == f"flows/{name}.py:{name}"
        assert deployment.flow.name == name
        assert deployment.pool in POOLS


def test_a_collection_starts_saes_and_operators_and_those_lead_to_evaluate_causal_and_the_report():
    plain, for_features = ({"ato.operators-follow": after} for after in ("collect", "features"))
    assert starts("ato.collect.complete", **plain) == {"saes", "operators"}
    assert starts("ato.collect.complete", **for_features) == {"saes"}
    assert starts("ato.saes.complete", **plain) == {"features"}
    assert starts("ato.features.complete", **plain) == {"explain"}
    assert starts("ato.features.complete", **for_features) == {"explain", "operators"}
    assert starts(stage_run.BOTH, **{"ato.can-intervene": "yes"}) == {"evaluate", "causal"}
    assert starts(stage_run.BOTH, **{"ato.can-intervene": "no"}) == {"evaluate"}
    assert starts("ato.evaluate.complete") == starts("ato.causal.complete") == {"report"}


@pytest.mark.parametrize("profile", profile_names())
def test_each_flow_is_started_once_by_the_events_of_a_study(profile):
    settings = load_settings(profile)
    started = sorted(name for flows in chain_from(settings, both_there=True) for name in flows)
    twice = ["report"] if settings.can_intervene else []  # after evaluate and after causal; unchanged it is not redrawn
    assert started == sorted([*(set(DEPLOYMENTS) - {"pipeline", "collect"}), *twice])


def test_only_whichever_of_features_and_operators_comes_last_says_that_both_are_there(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    plain = Settings.model_validate({"operators": {"methods": ["ridge"]}})
    for_features = Settings.model_validate({"operators": {"methods": ["ridge", "rrr_features"]}})
    assert stage_run.events_after("operators", plain, "c") == ["ato.operators.complete"]  # features are not there yet
    assert stage_run.events_after("features", plain, "c") == ["ato.features.complete"]  # operators are not there yet
    assert stage_run.events_after("features", for_features, "c") == ["ato.features.complete"]  # operators come after
    assert stage_run.events_after("operators", for_features, "c") == ["ato.operators.complete", stage_run.BOTH]
    monkeypatch.setattr(stage_run, "_scored", lambda collection: True)
    assert stage_run.events_after("operators", plain, "c")[-1] == stage_run.BOTH
    monkeypatch.setattr(stage_run, "pair_stages", lambda *_: [])
    assert stage_run.events_after("features", plain, "c")[-1] == stage_run.BOTH


def test_the_page_of_the_documents_says_what_the_file_declares():
    text = (ROOT / "docs" / "orchestration.md").read_text(encoding="utf-8")
    for name, deployment in DEPLOYMENTS.items():
        (row,) = (line for line in text.splitlines() if line.startswith(f"| `{name}` |"))
        said = set(re.findall(r"`([^`]+)`", row))
        events = {event for trigger in deployment.triggers for event in trigger["expect"]}
        crons = {schedule["cron"] for schedule in deployment.schedules}
        assert said == {name, deployment.pool} | events | crons


def test_schedules_are_switched_off_until_someone_switches_them_on():
    assert {name for name, d in DEPLOYMENTS.items() if d.schedules} == {"collect", "explain"}
    assert not any(schedule["active"] for d in DEPLOYMENTS.values() for schedule in d.schedules)
    assert list(occasions(DEPLOYMENTS["collect"])) == ["nightly: 0 2 * * * UTC, switched off"]


def test_the_form_shows_the_profile_first_and_explains_every_parameter():
    for deployment in DEPLOYMENTS.values():
        properties = deployment.form["properties"]
        assert min(properties, key=lambda name: properties[name]["position"]) == "profile"
        assert all(properties[name]["description"] == HELP[name] for name in properties)
        assert "required" not in deployment.form or not deployment.form["required"]


def test_the_form_calls_every_setting_by_its_own_name_and_explains_it():
    groups = DEPLOYMENTS["pipeline"].form["definitions"]
    assert {name for group in groups.values() for name in group["properties"]} >= {"n_tokens", "d_sae", "leaps"}
    for group in groups.values():
        assert group["description"]
        for name, field in group["properties"].items():
            assert field["title"] == name
            assert field.get("description") or "$ref" in str(field), name


def test_a_failure_that_nobody_foresaw_is_said_to_be_of_a_stage_and_a_collection(monkeypatch):
    said = []
    monkeypatch.setattr(stage_run, "say", lambda *words: said.append(" ".join(words)))
    with pytest.raises(ZeroDivisionError), stage_run.stage_run("operators", DEMO, "key-1"):
        raise ZeroDivisionError
    assert said[0].startswith("operators key-1 failed")


def test_a_profile_takes_the_place_of_the_settings_and_none_leaves_them():
    assert set(typing.get_args(Profile)) == {FORM, *profile_names()}
    own = Settings.model_validate({"collect": {"n_tokens": 5}})
    assert chosen(own, FORM) is own
    assert chosen(own, "gpt2") == load_settings("gpt2")


def test_a_run_is_named_by_flow_model_layers_and_key():
    assert name_of("saes", DEMO, None) == "saes smollm2-135m L8-24 sotu"
    assert name_of("saes", DEMO, "key-1") == "saes smollm2-135m L8-24 key-1"


def test_a_failure_names_stage_collection_and_cure():
    with pytest.raises(LayerError) as caught, stage_run.stage_run("operators", DEMO, "key-1"):
        raise LayerError("no layer 99", where="operators.leaps", cure="choose smaller leaps")
    assert str(caught.value) == "operators of key-1: no layer 99 (operators.leaps): choose smaller leaps"


@pytest.mark.parametrize(
    ("device", "server", "slots"), [("cuda", "http://a", 1), ("cuda", "", 0), ("cpu", "http://a", 0)]
)
def test_work_on_an_accelerator_takes_a_slot_of_the_server_that_shares_it_out(device, server, slots, monkeypatch):
    taken = []
    monkeypatch.setenv("PREFECT_API_URL", server)
    monkeypatch.setattr("ato.numerics.devices.choose_device", lambda name: device)
    monkeypatch.setattr(stage_run, "concurrency", lambda name, strict: nullcontext(taken.append(name)))
    with stage_run.stage_run("collect", DEMO):
        assert taken == [stage_run.ACCELERATOR] * slots


@pytest.mark.parametrize("address", ["", "http://127.0.0.1:9/api"])
def test_without_a_server_deploying_is_one_line_with_the_cure(address, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", address)
    with pytest.raises(AtoError, match="ato up") as caught:
        check_server()
    assert "\n" not in str(caught.value)


def test_prefect_reads_the_file_by_itself_too():
    from prefect.cli.deploy._models import PrefectYamlModel

    text = yaml.safe_load(Path(ROOT, "prefect.yaml").read_text(encoding="utf-8"))
    assert len(PrefectYamlModel.model_validate(text).deployments) == len(DEPLOYMENTS)
