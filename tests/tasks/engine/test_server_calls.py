"""Calls of a Prefect server that restarts."""

import os
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from tasks.engine import server_calls

ROOT = Path(__file__).parents[3]


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

    assert server_calls.call_with_retry(call) == answer
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
