"""The Prefect server that a command starts for itself: its start on a busy machine, and those that killed runs left."""

import atexit
import os
import shlex
import time
from collections.abc import Iterator
from contextlib import suppress

import httpx
import psutil

from ato.errors import UnavailableError

SERVER = "prefect.server.api.server:create_app"
"""Argument on the command line of every ephemeral Prefect server."""
PATIENCE = 1800.0
"""Seconds for a server to answer: several that start at once on a busy machine take minutes each."""
_NOT_STARTED = 3
"""Exit status of a server whose port was taken meanwhile, or that could not start: with a damaged database, say."""
_STARTS = 3
"""Ports that are tried before the port is not to blame."""


def start_own_server() -> None:
    """Start the server that Prefect would start, unless PREFECT_API_URL names one, and wait until it answers.

    Prefect itself gives up after a fixed time, and at once when an answer is slow; it also waits for a server that died.

    Raises:
        UnavailableError: the server ended, or did not answer in half an hour.
    """
    from prefect.server.api.server import SubprocessASGIServer

    server = SubprocessASGIServer()
    if os.environ.get("PREFECT_API_URL") or server.running:
        return
    server.port = server.find_available_port()
    server.server_process = server._run_uvicorn_command()
    server.running = True
    atexit.register(server.stop)
    began, starts = time.monotonic(), 1
    while not _answers(f"{server.api_url}/health"):
        status = server.server_process.poll()
        if status == _NOT_STARTED and starts < _STARTS:
            starts += 1
            server.port = server.find_available_port()
            server.server_process = server._run_uvicorn_command()
        elif status is not None or time.monotonic() - began > PATIENCE:
            server.running = False
            server.stop()
            home = os.environ.get("PREFECT_HOME", "~/.prefect")
            if status is None:
                raise UnavailableError(
                    f"Prefect's server did not answer in {PATIENCE / 60:.0f} minutes",
                    where=home,
                    cure="run the same command again when the machine is less busy: it resumes",
                )
            raise UnavailableError(
                f"Prefect's server ended with status {status}",
                where=home,
                cure=f"if its database is damaged, remove it: rm {shlex.quote(home)}/prefect.db* (it holds records of runs, no results)",
            )
        time.sleep(0.1)


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=30).is_success
    except httpx.HTTPError:
        return False


def orphaned_servers() -> Iterator[psutil.Process]:
    """Ephemeral servers on our Prefect folder whose run was killed: they would hold its database forever."""
    home = os.environ.get("PREFECT_HOME")
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            adopted = process.ppid() in (0, 1) or process.parent() is None or process.parent().name() == "systemd"
            if adopted and SERVER in process.cmdline() and process.environ().get("PREFECT_HOME") == home:
                yield process


def end_orphaned_servers() -> list[int]:
    """End them; returns their process ids."""
    ended = []
    for server in orphaned_servers():
        with suppress(psutil.Error):
            server.kill()
            ended.append(server.pid)
    return ended
