"""``ato up`` without its servers: ports, the lock of a data folder, and children that are watched and stopped."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, suppress

import psutil
import pytest

from ato.errors import InputError, UnavailableError
from flows.local import services, supervisor
from flows.local.services import Service, choose_port, log_path, shared_environment
from flows.local.state import UpState, only_one, running_api
from flows.local.supervisor import Supervisor, end_marked
from flows.local.up import up

TOKEN = "token-of-a-test"
SLEEP = "import time; time.sleep(600)"
WITH_GRANDCHILD = (
    "import subprocess, sys, time; "
    f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True).pid, flush=True); time.sleep(600)"
)


@pytest.fixture(autouse=True)
def data(tmp_path, monkeypatch):
    """A data folder of the test's own."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    monkeypatch.delenv("PREFECT_API_URL", raising=False)
    return tmp_path


@pytest.fixture
def watched() -> Iterator[tuple[Supervisor, list[str]]]:
    """A supervisor and the lines that it says; all is stopped at the end."""
    lines: list[str] = []
    environment = os.environ | {"ATO_UP": TOKEN}
    found = Supervisor(environment, lines.append)
    yield found, lines
    found.stop()


def program(code: str, **changes) -> Service:
    """A service that is a line of Python."""
    return Service("program", (sys.executable, "-c", code), **({"healthy": lambda: True} | changes))


def until(happened, seconds: float = 60) -> None:
    """Wait until something is true."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def said() -> str:
    """The log of the program."""
    return log_path("program").read_text()


def test_a_taken_default_port_gives_the_next_free_one_and_a_taken_one_that_was_asked_for_an_error():
    with closing(socket.create_server(("127.0.0.1", 0))) as stranger:
        port = stranger.getsockname()[1]
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(services.PORTS, "prefect", port)
            assert choose_port("prefect", None, set()) > port
            assert choose_port("prefect", None, {port + 1}) > port + 1
        with pytest.raises(InputError, match=f"port {port} is taken"):
            choose_port("prefect", port, set())


def test_one_data_folder_has_one_platform_and_the_lock_ends_with_its_process(data):
    holder = "import sys; from flows.local.state import *\nwith only_one(): UpState(7, 't').write(); print(1, flush=True); sys.stdin.read()"
    process = subprocess.Popen([sys.executable, "-c", holder], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    process.stdout.readline()
    with pytest.raises(InputError, match="kill 7"), only_one():
        pass
    process.kill()
    process.wait()
    with only_one() as left_behind:
        assert left_behind == UpState(7, "t")
    with only_one() as left_behind:
        assert left_behind is None, "one that ended in order leaves nothing"


def test_a_server_of_another_address_is_not_taken_over(monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:9/api")
    with pytest.raises(InputError, match="unset it"):
        up()


def test_an_address_that_does_not_answer_is_no_running_server():
    UpState(1, "t", {"prefect": "http://127.0.0.1:9"}).write()
    assert running_api() is None


def test_a_service_that_ends_on_start_is_an_error_with_the_end_of_its_log(watched):
    start, lines = watched
    with pytest.raises(UnavailableError, match="ended with code 3"):
        start.start(program("print('no such table'); raise SystemExit(3)", healthy=lambda: False))
    assert "no such table" in lines[-1]


def test_a_service_that_dies_is_started_again_with_growing_pauses_and_in_the_end_given_up(watched, monkeypatch):
    start, lines = watched
    monkeypatch.setattr(supervisor, "RESTARTS", 2)
    start.start(program("print('once more')"))
    with pytest.raises(UnavailableError, match="ended 3 times in a row, the last time with code 0"):
        for _ in start.watch():
            pass
    assert [line.split("again in ")[1][:3] for line in lines if "again in" in line] == ["1 s", "2 s"]
    assert said().count("once more") == 3


def test_stopping_leaves_no_process_whatever_its_session_and_whatever_it_ignores(watched):
    start, _ = watched
    stubborn = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {WITH_GRANDCHILD}"
    start.start(program(stubborn, holds_runs=True))
    until(said)
    pids = [*start.pids.values(), int(said())]
    start.stop()
    assert [pid for pid in pids if _alive(pid)] == []


def test_a_service_is_asked_to_end_before_it_is_killed(watched):
    start, _ = watched
    start.start(
        program(
            "import signal, sys, time\n"
            "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('ended in order')))\n"
            "print('up', flush=True); time.sleep(600)"
        )
    )
    until(said)
    start.stop()
    assert "ended in order" in said()


def test_what_a_killed_platform_left_running_is_found_by_its_mark():
    process = subprocess.Popen(
        [sys.executable, "-c", WITH_GRANDCHILD], env=os.environ | {"ATO_UP": "another"}, stdout=subprocess.PIPE
    )
    grandchild = int(process.stdout.readline())
    assert end_marked(TOKEN) == []
    assert set(end_marked("another")) == {process.pid, grandchild}
    process.wait()
    until(lambda: not _alive(grandchild))


def test_children_are_told_the_server_the_data_and_no_telemetry(data, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", "relative/warehouse")
    monkeypatch.chdir(data)
    found = shared_environment("http://a/api", "http://b", TOKEN)
    assert found["ATO_WAREHOUSE"] == str(data / "relative" / "warehouse")
    assert found["PREFECT_API_URL"] == "http://a/api"
    assert found["DO_NOT_TRACK"] == "1"
    assert found["PREFECT_SERVER_ANALYTICS_ENABLED"] == "false"


def _alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
