"""What ``prefect.yaml`` declares: the flows of the registry, the events between them, forms that Prefect can draw."""

from pathlib import Path

import pytest
import yaml

from ato.errors import AtoError
from flows.engine.forms import COMMON_SETTINGS, HELP
from flows.local import deployments
from flows.local.deployments import POOLS, ROOT, check_server, declared, occasions
from flows.settings import load_settings, profile_names
from flows.stages import FLOWS, STAGES, joint_triggers, labels

DEPLOYMENTS = {deployment.name: deployment for deployment in declared()}


def starts(event: str, **labels: str) -> set[str]:
    """Flows that an event with these labels starts."""
    return {
        name
        for name, deployment in DEPLOYMENTS.items()
        for trigger in deployment.triggers
        if event in trigger["expect"] and trigger.get("match", {}).items() <= labels.items()
    }


def test_there_is_a_deployment_for_every_flow_of_the_registry_in_its_order():
    assert list(DEPLOYMENTS) == list(FLOWS)


@pytest.mark.parametrize("name", FLOWS)
def test_a_deployment_is_what_the_registry_says(name):
    spec, deployment = FLOWS[name], DEPLOYMENTS[name]
    assert deployment.entry["entrypoint"] == spec.entrypoint
    assert deployment.flow.name == name
    assert deployment.pool == spec.pool
    assert deployment.pool in POOLS
    assert deployment.entry["description"].startswith(spec.does)
    declared_triggers = [
        (event, trigger.get("match", {})) for trigger in deployment.triggers for event in trigger["expect"]
    ]
    assert declared_triggers == [(trigger.event, trigger.match) for trigger in spec.starts_after]
    assert [schedule["cron"] for schedule in deployment.schedules] == [spec.cron] * bool(spec.cron)
    assert not any(schedule["active"] for schedule in deployment.schedules)


@pytest.mark.parametrize("profile", profile_names())
def test_each_flow_is_started_once_by_the_events_of_a_study(profile):
    settings = load_settings(profile)
    events = [*(spec.event for spec in FLOWS.values()), *joint_triggers()]
    started = sorted(name for event in events for name in starts(event, **labels(settings)))
    twice = ["report"] if settings.can_intervene else []  # after evaluate and after causal; unchanged it is not redrawn
    assert started == sorted([*(name for name, stage in STAGES.items() if stage.starts_after), *twice])


def test_schedules_are_said_with_their_state():
    assert list(occasions(DEPLOYMENTS["collect"])) == ["nightly: 0 2 * * * UTC, switched off"]


def test_the_form_shows_the_profile_first_then_the_estimate_the_common_settings_and_a_closed_group_a_stage():
    settings = load_settings("demo")
    for deployment in DEPLOYMENTS.values():
        form = deployment.form(settings)
        properties = form["properties"]
        order = sorted(properties, key=lambda name: properties[name]["position"])
        assert order[:3] == ["profile", "estimate", "common"]
        assert order[-1] == "stages"
        assert "settings" not in properties, "a run is sent those of the deployment"
        assert all(properties[name]["description"] == HELP[name] for name in properties)
        assert "required" not in form or not form["required"]
        common = properties["common"]["properties"]
        assert [field["title"] for field in common.values()] == list(COMMON_SETTINGS)
        assert len(common) == 10
        assert not any("default" in field for field in common.values()), "empty: as the profile has it"
        for group in properties["stages"]["properties"].values():
            closed, opened = group["anyOf"]
            assert closed["type"] == "null", "the page draws the first alternative"
            assert opened["properties"]


def test_a_form_has_the_groups_that_matter_to_its_flow():
    settings = load_settings("demo")
    groups = {
        name: list(DEPLOYMENTS[name].form(settings)["properties"]["stages"]["properties"]) for name in DEPLOYMENTS
    }
    assert groups["label"] == ["model", "collect", "saes", "features", "label", "fan_out"]
    assert {"operators", "evaluate", "report"} < set(groups["collect"]), "its events hand the settings on"
    assert "graphs" not in groups["pipeline"]


def test_the_form_calls_every_setting_by_its_own_name_explains_it_and_shows_the_deployed_value():
    settings = load_settings("gpt2")
    found = set()
    for deployment in DEPLOYMENTS.values():
        for stage, group in deployment.form(settings)["properties"]["stages"]["properties"].items():
            assert group["description"]
            values = getattr(settings, stage).model_dump(mode="json")
            for name, field in group["anyOf"][1]["properties"].items():
                assert field["title"] == name
                assert field.get("description") or "$ref" in str(field), name
                assert field["default"] == values.get(name, field["default"])
                found.add(f"{stage}.{name}")
    assert found >= {f"{stage}.{name}" for stage, of in settings for name in type(of).model_fields}


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


def test_pools_take_no_job_variables_and_process_pools_of_earlier_versions_are_closed(monkeypatch):
    from types import SimpleNamespace

    from prefect.exceptions import ObjectAlreadyExists

    class Client:
        """A server that has two pools of ours: one of ours, and one that became another kind."""

        made, changed = [], []

        def create_work_pool(self, pool):
            self.made.append(pool.base_job_template)
            raise ObjectAlreadyExists(None)

        def read_work_pool(self, name):
            return SimpleNamespace(type="process" if name == "cpu" else "kubernetes")

        def update_work_pool(self, name, changes):
            self.changed.append((name, changes.base_job_template))

        def read_global_concurrency_limit_by_name(self, name):
            return None

    deployments._register_shared(Client())
    assert Client.made == [deployments.CLOSED] * len(POOLS)
    assert Client.changed == [("cpu", deployments.CLOSED)]
    assert deployments.CLOSED["variables"]["additionalProperties"] is False
    assert not {"command", "env", "working_dir"} & set(deployments.CLOSED["job_configuration"])


def test_a_worker_runs_its_own_command_whatever_the_job_variables_say():
    import asyncio
    from contextlib import nullcontext

    from prefect.workers.process import ProcessJobConfiguration

    asked = {"command": "touch proof", "env": {"PYTHONSTARTUP": "x"}, "env.PYTHONPATH": "y", "working_dir": "/tmp"}
    build = ProcessJobConfiguration.from_template_and_values(
        base_job_template=deployments.CLOSED, values=asked, client=nullcontext()
    )
    found = asyncio.run(build)
    assert (found.command, found.env, found.working_dir) == (None, {}, None)
