"""The platform by itself: events carry a collection to the report, the clock starts runs, a kill costs nothing."""

import os
import signal
from datetime import UTC, datetime
from uuid import uuid4

import pytest

from flows.local.recovery import SILENCE
from flows.stages import STAGES
from tests.flows.running_platform import Platform
from tests.flows.tiny_study import tiny_settings

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.timeout(1800)]

FOLLOWERS = [name for name, stage in STAGES.items() if stage.starts_after]


@pytest.fixture
def there(tmp_path):
    settings = tiny_settings(tmp_path)
    found = Platform(tmp_path, settings)
    found.start()
    yield found
    if found.process.poll() is None:
        found.stop()


def test_whatever_is_killed_one_collection_leads_to_the_report_by_events_and_the_clock_starts_runs(there):
    settings = there.deployment("collect")["parameters"]["settings"]
    run = there.run("collect")
    there.wait_for(lambda: _running(there, "collect"), "the run to begin")
    for process in there.processes(PREFECT__FLOW_RUN_ID=run):
        process.kill()
    there.wait_for(lambda: _running(there, "collect", attempt=2), "the killed run to go on by itself")
    for process in there.processes(PREFECT__FLOW_RUN_ID=run):
        process.suspend()  # else it might end before the platform is back
    os.kill(there.process.pid, signal.SIGKILL)  # nothing of it can clean up
    there.process.wait()
    there.start()
    assert "processes that an earlier run left behind" in there.said()
    assert "1 flow runs were unfinished" in there.said()
    (collected,) = there.wait_for(lambda: there.finished("collect"), "the run to go on with the new platform")
    assert (collected["id"], collected["run_count"]) == (run, 3)

    there.wait_for(lambda: _running(there, "saes"), "saes to begin")
    os.kill(there.pid("worker-gpu"), signal.SIGKILL)
    (trained,) = there.wait_for(lambda: there.finished("saes"), "the run of a killed worker to go on")
    assert trained["run_count"] == 2

    there.wait_for(lambda: _running(there, "features"), "features to begin")
    os.kill(there.pid("prefect"), signal.SIGKILL)
    there.wait_for(lambda: there.finished("features"), "the run to outlive the server, or to go on")

    key = collected["name"].split()[-1]
    for name in FOLLOWERS:
        (first, *_) = there.wait_for(lambda name=name: there.finished(name), f"{name} to follow by events")
        assert first["parameters"]["settings"] == settings
        assert first["parameters"]["collection"] == key
        assert first["name"] == f"{name} model L0-3 {key}"
    for name in ("saes", "features", "operators", "evaluate", "causal"):
        assert len(there.runs(name)) == 1, name
    assert not there.runs("pipeline")

    _each_minute(there, "explain")
    silent = _silence(there, "report")
    there.wait_for(
        lambda: [run for run in there.finished("explain") if run["auto_scheduled"]], "a run that the clock started"
    )

    there.wait_for(lambda: silent in [run["id"] for run in there.finished("report")], "a run gone silent to go on")

    second = there.ato("up")
    assert second.returncode == 1
    assert f"process {there.process.pid}" in second.stderr
    assert there.address in there.ato("doctor").stdout.replace("\n", "")
    assert there.ato("deploy", "--profile", str(there.profile)).returncode == 0
    assert [s["active"] for s in there.deployment("explain")["schedules"]] == [True], "a schedule switched on stays so"

    assert there.stop() == 0
    assert there.processes() == []
    assert not (there.data / "up.json").exists()


def _running(there: Platform, name: str, attempt: int = 1) -> bool:
    return any(run["state_type"] == "RUNNING" and run["run_count"] == attempt for run in there.runs(name))


def _silence(there: Platform, name: str) -> str:
    """A run that has one heartbeat and no process: machine and worker are gone; ten seconds instead of ten minutes."""
    _silent_after(there, 10)
    run = there.post(f"deployments/{there.deployment(name)['id']}/create_flow_run", state={"type": "RUNNING"})
    tags = [{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"} for tag in run["tags"]]
    there.ask(
        "POST",
        "events",
        [
            {
                "event": "prefect.flow-run.heartbeat",
                "id": str(uuid4()),
                "occurred": datetime.now(UTC).isoformat(),
                "resource": {"prefect.resource.id": f"prefect.flow-run.{run['id']}"},
                "related": tags,
            }
        ],
    )
    there.wait_for(
        lambda: there.ask("GET", f"flow_runs/{run['id']}")["state_type"] != "RUNNING", "silence to be noticed"
    )
    _silent_after(there, SILENCE.total_seconds())
    return run["id"]


def _silent_after(there: Platform, seconds: float) -> None:
    (rule,) = there.post("automations/filter", automations={"name": {"any_": ["ato silent runs have crashed"]}})
    changed = {name: rule[name] for name in ("name", "description", "enabled", "trigger", "actions")}
    changed["trigger"]["within"] = seconds
    there.ask("PUT", f"automations/{rule['id']}", changed)


def _each_minute(there: Platform, name: str) -> None:
    (schedule,) = there.deployment(name)["schedules"]
    change = {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}}
    there.ask("PATCH", f"deployments/{there.deployment(name)['id']}/schedules/{schedule['id']}", change)
