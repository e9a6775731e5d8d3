"""What goes on by itself after a crash: which runs, how often, and what becomes of a lost worker's."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from uuid import uuid4

import httpx
import psutil
import pytest

from flows.local import recovery
from flows.local.deployments import ROOT
from flows.local.recovery import MOST_RESTARTS, LostWorker, automations, lost_worker, resume_all
from tasks.engine import server_calls

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

    def post(self, address: str, json: dict, timeout: float) -> httpx.Response:
        request = httpx.Request("POST", address)
        if self.away:
            raise httpx.ConnectError("refused", request=request)
        if address.endswith("/filter"):
            return httpx.Response(200, json=list(self.runs), request=request)
        self.given[address.split("/")[-2]] = json["state"]["type"]
        return httpx.Response(200, json={}, request=request)


def run(name: str, state: str, *, count: int = 1, pool: str | None = "gpu", deployment: str | None = "d") -> dict:
    """A flow run as the server lists it."""
    return {"id": name, "state_type": state, "run_count": count, "work_pool_name": pool, "deployment_id": deployment}


def test_runs_that_ended_with_the_platform_go_on_and_cancelled_ones_do_not(monkeypatch):
    server = Server(
        run("running", "RUNNING"), run("cancelling", "CANCELLING"), run("part", "RUNNING", deployment=None, pool=None)
    )
    monkeypatch.setattr(recovery.httpx, "post", server.post)
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
    monkeypatch.setattr(recovery.httpx, "post", server.post)
    lost = LostWorker("gpu", frozenset({"its", "often"}))
    server.away = True
    assert not lost.report(API)
    server.away = False
    assert lost.report(API)
    assert server.given == {"its": "SCHEDULED", "often": "CRASHED", "waits": "SCHEDULED"}


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


@pytest.mark.parametrize(("failures", "answer"), [(0, "yes"), (3, "yes"), (99, None)])
def test_a_server_that_is_away_for_a_while_is_told_later_and_one_that_stays_away_costs_nothing_but_a_message(
    failures, answer, monkeypatch
):
    slept: list[float] = []
    monkeypatch.setattr(server_calls.time, "sleep", slept.append)

    def call() -> str:
        if len(slept) < failures:
            raise httpx.ConnectError("refused")
        return "yes"

    assert server_calls.tell(call) == answer
    assert slept == list(server_calls.PAUSES[:failures])


@pytest.mark.parametrize(("started_by_a_worker", "attempts"), [(True, 3), (False, 1)])
def test_runs_of_a_worker_try_again_where_no_server_answers_yet(started_by_a_worker, attempts):
    code = """if True:
        import httpx, time
        from tasks.engine import server_calls
        from prefect.client.orchestration import get_client
        asked, send = [], httpx.HTTPTransport.handle_request
        httpx.HTTPTransport.handle_request = lambda *call: asked.append(call) or send(*call)
        time.sleep = lambda seconds: None
        client = get_client(sync_client=True)
        asked.clear()
        try:
            client.hello()
        except httpx.ConnectError:
            print(len(asked))
    """
    environment = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api", "PREFECT_CLIENT_MAX_RETRIES": "2"}
    environment |= {"PREFECT__FLOW_RUN_ID": "run-1"} if started_by_a_worker else {}
    done = subprocess.run(
        [sys.executable, "-c", code], env=environment, cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert int(done.stdout) == attempts
