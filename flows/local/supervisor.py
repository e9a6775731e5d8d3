"""Supervised child processes: started in process groups of their own, restarted when they die, all stopped at the end."""

import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from ato.errors import UnavailableError
from flows.local.deployments import ROOT
from flows.local.services import Service, log_path

START_SECONDS = 180
"""Longest wait for a service to become healthy; the first start of a server migrates its database."""
STOP_SECONDS = 5
"""Time to end normally, after which a process is killed."""
RESTARTS = 5
"""Consecutive restarts before a service is given up."""
STEADY_SECONDS = 300
"""After running this long, the count of restarts begins again at zero."""
LARGEST_LOG = 20 * 2**20
TAIL = 12
"""Lines shown from the end of a log."""


@dataclass
class Child:
    """A service and its current process."""

    service: Service
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)
    restarts: int = 0
    due: float | None = None
    """When to restart it (monotonic clock); None while it runs."""


class Supervisor:
    """Starts services, checks that they work, restarts those that end, and stops them all.

    Args:
        environment: of every process; ``ATO_UP`` in it marks them and all their descendants.
        say: prints one line.
    """

    def __init__(self, environment: Mapping[str, str], say: Callable[[str], object]):
        self._environment, self._say = dict(environment), say
        self._children: list[Child] = []

    @property
    def pids(self) -> dict[str, int]:
        """Service -> process."""
        return {child.service.name: child.process.pid for child in self._children}

    def start(self, *services: Service) -> None:
        """Start services together and wait until all of them work.

        Raises:
            UnavailableError: one ended, or was not healthy in time; the end of its log is printed.
        """
        started = [Child(service, self._launch(service)) for service in services]
        self._children += started
        deadline = time.monotonic() + START_SECONDS
        for child in started:
            while not child.service.healthy():
                if (code := child.process.poll()) is not None:
                    raise self._failure(child.service, f"ended with code {code} on start")
                if time.monotonic() > deadline:
                    raise self._failure(child.service, f"does not answer after {START_SECONDS} seconds")
                time.sleep(0.2)

    def watch(self) -> Iterator[list[str]]:
        """Watch the services forever; yields, after each look, the names of those that were restarted.

        Raises:
            UnavailableError: a service ended too many times in a row.
        """
        while True:
            yield [child.service.name for child in self._children if self._look_after(child)]
            time.sleep(0.5)

    def _look_after(self, child: Child) -> bool:
        name, now = child.service.name, time.monotonic()
        if child.due is not None:
            if now < child.due:
                return False
            child.process, child.started, child.due = self._launch(child.service), now, None
            return True
        if (code := child.process.poll()) is None:
            return False
        child.restarts = 0 if now - child.started > STEADY_SECONDS else child.restarts
        if child.restarts == RESTARTS:
            raise self._failure(child.service, f"ended {RESTARTS + 1} times in a row, the last time with code {code}")
        pause = 2.0**child.restarts
        child.restarts += 1
        child.due = now + pause
        _kill(descendants_in_group(child.process.pid))
        self._say(f"{name} ended with code {code}; restarting it in {pause:.0f} s. The end of its log:")
        self._say(tail(log_path(name)))
        return False

    def stop(self) -> None:
        """End everything within seconds: kill flow runs and their workers, then terminate the rest; nothing is left over.

        A killed flow run keeps its state on the server, so the next start resumes it.
        """
        holders = [child.process.pid for child in self._children if child.service.holds_runs]
        killed = [*holders, *(pid for holder in holders for pid in _tree(holder))]
        _kill(killed)
        for child in self._children:
            with suppress(ProcessLookupError, PermissionError):
                os.killpg(child.process.pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_SECONDS
        for child in self._children:
            with suppress(subprocess.TimeoutExpired):
                child.process.wait(max(0.0, deadline - time.monotonic()))
        end_marked(self._environment["ATO_UP"])
        for child in self._children:
            child.process.wait()
        _wait(killed)  # a killed process is there until the kernel has taken it apart

    def _launch(self, service: Service) -> subprocess.Popen[bytes]:
        path = log_path(service.name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and path.stat().st_size > LARGEST_LOG:
            path.replace(path.with_suffix(".log.1"))
        with path.open("ab") as log:  # appended: the output of flow runs would otherwise be overwritten
            return subprocess.Popen(
                service.command,
                cwd=ROOT,
                env=self._environment | service.environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _failure(self, service: Service, what: str) -> UnavailableError:
        self._say(tail(log_path(service.name)))
        return UnavailableError(f"{service.name} {what}", where=log_path(service.name), cure="see the log above")


def tail(path: Path) -> str:
    """The last lines of a log."""
    with suppress(OSError), path.open("rb") as log:
        log.seek(max(0, path.stat().st_size - 8192))
        return "\n".join(log.read().decode(errors="replace").splitlines()[-TAIL:])
    return ""


def end_marked(token: str) -> list[int]:
    """Kill every process that has the token of an ``ato up`` in its environment; returns their ids.

    Parents and process groups do not find them all: a flow run has its own session, and outlives a killed worker.
    """
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error):
            if process.pid != os.getpid() and process.environ().get("ATO_UP") == token:
                found.append(process.pid)
    _kill(found)
    _wait(found)
    return found


def descendants_in_group(leader: int) -> list[int]:
    """Remaining processes in the group of a service that ended: they would hold its port."""
    found = []
    for process in psutil.process_iter():
        with suppress(psutil.Error, OSError):
            if os.getpgid(process.pid) == leader and process.pid != leader:
                found.append(process.pid)
    return found


def _tree(pid: int) -> list[int]:
    with suppress(psutil.Error):
        return [child.pid for child in psutil.Process(pid).children(recursive=True)]
    return []


def _wait(pids: list[int]) -> None:
    """Wait until killed processes are gone."""
    left = []
    for pid in pids:
        with suppress(psutil.Error):
            left.append(psutil.Process(pid))
    psutil.wait_procs(left, timeout=STOP_SECONDS)


def _kill(pids: list[int]) -> None:
    for pid in pids:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
