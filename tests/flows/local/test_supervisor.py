"""Children of ``ato up``: watched, restarted, and all stopped at the end."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import psutil
import pytest

from ato.errors import UnavailableError
from flows.local import supervisor
from flows.local.services import Service, log_path
from flows.local.supervisor import Supervisor, end_marked

TOKEN = "token-of-a-test"
SLEEP = "import time; time.sleep(600)"
WITH_GRANDCHILD = (
    "import subprocess, sys, time; "
    f"print(subprocess.Popen([sys.executable, '-c', {SLEEP!r}], start_new_session=True).pid, flush=True); time.sleep(600)"
)


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
    assert [line.split("restarting it in ")[1][:3] for line in lines if "restarting" in line] == ["1 s", "2 s"]
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


def _alive(pid: int) -> bool:
    with suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False
