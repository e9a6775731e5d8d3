"""What goes on by itself after a crash: which runs, how often, and what becomes of a lost worker's."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psutil

from flows.local import recovery
from flows.local.recovery import MOST_RESTARTS, LostWorker, RunsHere, automations, lost_worker, resume_all

API = "http://a/api"


def event(name: str, run_count: int, tag: str = "ato"):
    """A flow run's event as the server makes it."""
    from prefect.server.events.schemas.events import ReceivedEvent

    return ReceivedEvent(
        event=f"prefect.flow-run.{name}",
        id=uuid4(),
        occurred=datetime.now(UTC),
        received=datetime.now(UTC),
        resource={"prefect.resource.id": f"prefect.flow-run.{uuid4()}", "prefect.run-count": str(run_count)},
        related=[{"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}],
    )


def rules() -> list:
    """The automations' triggers as the server reads them."""
    from prefect.server.events.schemas.automations import EventTrigger

    return [EventTrigger.model_validate(rule.trigger.model_dump(mode="json")) for rule in automations()]


def test_our_crashed_runs_go_again_a_limited_number_of_times():
    again, _ = rules()
    assert again.starts_after("prefect.flow-run.Crashed")
    assert not again.starts_after("prefect.flow-run.Failed")
    assert [n for n in range(9) if again.covers(event("Crashed", n))] == list(range(1, MOST_RESTARTS + 1))
    assert not again.covers(event("Crashed", 1, tag="another"))
    assert again.expects("prefect.flow-run.Resuming"), "someone was quicker: nothing to do"


def test_any_sign_of_life_of_our_runs_counts():
    _, silent = rules()
    assert silent.starts_after("prefect.flow-run.heartbeat")
    assert silent.expects("prefect.flow-run.heartbeat")
    assert silent.expects("prefect.flow-run.Completed")
    assert silent.covers(event("heartbeat", 1))
    assert not silent.covers(event("heartbeat", 1, tag="another"))


class Server:
    """Flow runs of a Prefect server, and the states that they were given."""

    def __init__(self, *runs: dict):
        self.runs, self.given, self.away = runs, {}, False

    def post(self, api: str, path: str, body: dict) -> object:
        if self.away:
            raise httpx.ConnectError("refused")
        if path.endswith("/filter"):
            wanted = body["flow_runs"]
            states, ids = wanted["state"]["type"]["any_"], wanted.get("id", {}).get("any_")
            return [run for run in self.runs if run["state_type"] in states and (ids is None or run["id"] in ids)]
        self.given[path.split("/")[-2]] = body["state"]["type"]
        return {}


def run(name: str, state: str, *, count: int = 1, pool: str | None = "gpu", deployment: str | None = "d") -> dict:
    """A flow run as the server lists it."""
    return {"id": name, "state_type": state, "run_count": count, "work_pool_name": pool, "deployment_id": deployment}


def test_runs_that_ended_with_the_platform_go_on_and_cancelled_ones_do_not(monkeypatch):
    server = Server(
        run("running", "RUNNING"), run("cancelling", "CANCELLING"), run("part", "RUNNING", deployment=None, pool=None)
    )
    monkeypatch.setattr(recovery, "post", server.post)
    assert resume_all(API) == 1
    assert server.given == {"running": "SCHEDULED", "cancelling": "CANCELLED", "part": "CRASHED"}


def test_a_lost_workers_runs_go_on_unless_they_crashed_too_often_and_others_are_left_alone(monkeypatch):
    server = Server(
        run("its", "RUNNING"),
        run("often", "RUNNING", count=MOST_RESTARTS + 1),
        run("waits", "PENDING"),
        run("other", "RUNNING"),
        run("elsewhere", "PENDING", pool="cpu"),
    )
    monkeypatch.setattr(recovery, "post", server.post)
    lost = LostWorker("gpu", frozenset({"its", "often"}))
    server.away = True
    assert not lost.report(API)
    server.away = False
    assert lost.report(API)
    assert server.given == {"its": "SCHEDULED", "often": "CRASHED", "waits": "SCHEDULED"}


def test_a_run_that_ends_while_the_server_is_away_goes_on_unless_it_is_complete_or_crashed_too_often(monkeypatch):
    server = Server(
        run("running", "RUNNING"),
        run("crashed", "CRASHED"),
        run("often", "RUNNING", count=MOST_RESTARTS + 1),
        run("cancelling", "CANCELLING"),
        run("complete", "COMPLETED"),
        run("alive", "RUNNING"),
        run("elsewhere", "RUNNING"),
    )
    monkeypatch.setattr(recovery, "post", server.post)
    here = ["running", "crashed", "often", "cancelling", "complete", "alive"]
    monkeypatch.setattr(recovery, "_runs_with_process", lambda token: here)
    runs = RunsHere("token", patience=0)
    runs.look(API)
    assert server.given == {}
    here = ["alive"]
    server.away = True
    runs.look(API)
    server.away = False
    runs.look(API)
    assert server.given == {
        "running": "SCHEDULED",
        "crashed": "SCHEDULED",
        "often": "CRASHED",
        "cancelling": "CANCELLED",
    }
    server.given.clear()
    runs.look(API)
    assert server.given == {}, "said once"


def test_the_processes_of_a_lost_workers_runs_are_ended():
    marks = {"PREFECT__WORKER_NAME": "ato-x", "PREFECT__FLOW_RUN_ID": "run-1", "ATO_UP": "token"}
    code = "import time; print(1, flush=True); time.sleep(600)"
    its, other = (
        subprocess.Popen([sys.executable, "-c", code], env=os.environ | more, stdout=subprocess.PIPE)
        for more in (marks, marks | {"PREFECT__WORKER_NAME": "ato-y"})
    )
    try:
        its.stdout.readline()
        other.stdout.readline()
        assert lost_worker("gpu", "ato-x", "token") == LostWorker("gpu", frozenset({"run-1"}))
        assert its.wait(60) < 0
        assert psutil.pid_exists(other.pid)
    finally:
        other.kill()
        other.wait()
