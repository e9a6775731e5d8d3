"""The server of a run: waited for while it starts, named when it died, and ended when its run was killed."""

import subprocess
import sys
from types import SimpleNamespace

import psutil
import pytest

from ato.errors import UnavailableError
from flows.commands.gc import SERVERS, collect_garbage
from flows.engine import own_server
from flows.engine.environment import QUIET
from flows.engine.own_server import SERVER, orphaned_servers, start_own_server


@pytest.fixture
def server(monkeypatch):
    """Prefect's server with processes that we make: ``status`` is what they ended with, None while they run."""
    stand_in = SimpleNamespace(running=False, status=[], started=0, port=None, api_url="http://127.0.0.1:9/api")

    def start():
        stand_in.started += 1
        return SimpleNamespace(poll=lambda: stand_in.status.pop(0) if stand_in.status else None)

    stand_in.find_available_port, stand_in._run_uvicorn_command, stand_in.stop = lambda: 9, start, lambda: None
    monkeypatch.setattr("prefect.server.api.server.SubprocessASGIServer", lambda: stand_in)
    monkeypatch.setattr(own_server.time, "sleep", lambda seconds: None)
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return stand_in


def test_a_server_that_answers_late_is_waited_for(server, monkeypatch):
    answers = [False] * 5000 + [True]  # 500 seconds of Prefect's own count
    monkeypatch.setattr(own_server, "_answers", lambda url: answers.pop(0))
    start_own_server()
    assert server.running
    assert server.started == 1
    start_own_server()
    assert server.started == 1
    assert int(QUIET["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"]) >= 1800


def test_a_server_whose_port_was_taken_starts_again_and_one_that_died_is_an_error_with_its_cure(server, monkeypatch):
    monkeypatch.setattr(own_server, "_answers", lambda url: False)
    server.status = [None, 3, None, 1]
    with pytest.raises(UnavailableError, match=r"ended with status 1 .*rm .*prefect\.db"):
        start_own_server()
    assert server.started == 2
    assert not server.running


def test_a_server_that_starts_on_no_port_is_an_error_with_its_cure(server, monkeypatch):
    monkeypatch.setattr(own_server, "_answers", lambda url: False)
    server.status = [3] * 5
    with pytest.raises(UnavailableError, match=r"ended with status 3 .*rm .*prefect\.db"):
        start_own_server()
    assert server.started == 3


def test_a_server_that_never_answers_is_an_error(server, monkeypatch):
    monkeypatch.setattr(own_server, "_answers", lambda url: False)
    monkeypatch.setattr(own_server, "PATIENCE", 0.0)
    with pytest.raises(UnavailableError, match="did not answer"):
        start_own_server()


def test_the_server_of_a_killed_run_is_named_by_gc_and_ended_on_request(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("PREFECT_HOME", str(tmp_path / "prefect"))
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    program = f"import time; time.sleep(60)  # {SERVER}"
    code = f"import subprocess, sys; print(subprocess.Popen([sys.executable, '-c', {program!r}, {SERVER!r}]).pid)"
    code = code.replace(f"{SERVER!r}])", f"{SERVER!r}], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    process = psutil.Process(int(done.stdout))
    try:
        if process.pid not in [found.pid for found in orphaned_servers()]:
            pytest.skip("orphans are adopted by another process here")
        collect_garbage()
        assert SERVERS in (out := capsys.readouterr().out)
        assert f"process {process.pid}" in out
        assert process.is_running()
        collect_garbage(yes=True)
        process.wait(10)
    finally:
        if process.is_running():
            process.kill()
