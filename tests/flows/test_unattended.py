"""The platform by itself: events carry a collection to the report, the clock starts runs, a kill costs nothing."""

import os
import signal

import pytest

from flows.up_state import UpState
from tests.flows.running_platform import Platform
from tests.flows.tiny_study import tiny_settings

pytestmark = [pytest.mark.platform, pytest.mark.timeout(1800)]

FOLLOWERS = ("saes", "features", "explain", "operators", "evaluate", "causal", "report")


@pytest.fixture
def there(tmp_path):
    settings = tiny_settings(tmp_path)
    found = Platform(tmp_path, settings)
    found.start()
    yield found
    if found.process.poll() is None:
        found.stop()


def test_it_is_killed_goes_on_and_leads_one_collection_to_the_report_by_events_and_the_clock(there):
    settings = there.deployment("collect")["parameters"]["settings"]
    run = there.run("collect")
    _kill_while_running(there, run)
    there.start()
    assert "processes that an earlier run left behind" in there.said()
    assert "1 flow runs were under way" in there.said()
    (collected,) = there.wait_for(lambda: there.finished("collect"), "the killed run to go on")
    assert collected["id"] == run

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
    there.wait_for(
        lambda: [run for run in there.finished("explain") if run["auto_scheduled"]], "a run that the clock started"
    )

    second = there.ato("up")
    assert second.returncode == 1
    assert f"process {there.process.pid}" in second.stderr
    assert there.address in there.ato("doctor").stdout.replace("\n", "")
    assert there.ato("deploy", "--profile", str(there.profile)).returncode == 0
    assert [s["active"] for s in there.deployment("explain")["schedules"]] == [True], "a schedule switched on stays so"

    assert there.stop() == 0
    assert there.processes() == []
    assert not (there.data / "up.json").exists()


def _kill_while_running(there: Platform, run: str) -> None:
    """-9 to `ato up` itself while a flow run is at work: nothing of it can clean up."""
    import httpx

    def running() -> bool:
        return httpx.get(f"{there.address}/api/flow_runs/{run}", timeout=60).json()["state_type"] == "RUNNING"

    there.wait_for(running, "the run to begin")
    os.kill(there.process.pid, signal.SIGKILL)
    there.process.wait()


def _each_minute(there: Platform, name: str) -> None:
    import httpx

    (schedule,) = there.deployment(name)["schedules"]
    change = {"active": True, "schedule": {"cron": "* * * * *", "timezone": "UTC"}}
    address = f"{there.address}/api/deployments/{there.deployment(name)['id']}/schedules/{schedule['id']}"
    httpx.patch(address, json=change, timeout=60).raise_for_status()


def test_the_state_of_a_killed_one_is_read_back(tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    from flows.up_state import read_state

    assert read_state() is None
    state = UpState(12, "token", {"prefect": "http://127.0.0.1:1"}, {"prefect": 13})
    state.write()
    assert read_state() == state
