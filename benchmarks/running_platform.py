"""``ato up`` as a child process on a folder of its own, and runs of its deployments."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, TypeVar

import httpx

from benchmarks.own_process import ROOT, environment
from flows.settings import Settings

LONGEST_WAIT = 1800
"""Seconds after which a platform that does not start, or a run that does not end, is an error."""
LOOK = 0.2
"""Seconds between two looks at a run: how exactly its end is known."""
Found = TypeVar("Found")


@dataclass(frozen=True)
class DeployedRun:
    """Seconds that a run of a deployment took, and where they went."""

    whole: float
    """From asking for it to hearing that it is complete."""
    waiting: float
    """Until a worker saw it."""
    starting: float
    """From then on until its process had imported the flow and said that it runs."""
    running: float
    """The flow itself, until it said that it is complete."""


@dataclass(frozen=True)
class RunningPlatform:
    """A started ``ato up``."""

    api: str
    auth: httpx.BasicAuth

    def run(self, deployment: str) -> DeployedRun:
        """Run a deployment as it is registered, and wait for its end.

        Raises:
            RuntimeError: it fails.
        """
        there = self._ask("GET", f"deployments/name/{deployment}/{deployment}")["id"]
        started = time.perf_counter()
        asked = {"state": {"type": "SCHEDULED"}, "parameters": {}}
        run = self._ask("POST", f"deployments/{there}/create_flow_run", asked)["id"]
        state = _wait(lambda: self._ended(run), f"the end of {deployment}")
        whole = time.perf_counter() - started
        if state["type"] != "COMPLETED":
            raise RuntimeError(f"{deployment} ended as {state['name']}: {state['message']}")
        at = {s["type"]: datetime.fromisoformat(s["timestamp"]) for s in self._states(run)}  # the first of each type
        waiting, starting, running = (
            (at[later] - at[earlier]).total_seconds()
            for earlier, later in (("SCHEDULED", "PENDING"), ("PENDING", "RUNNING"), ("RUNNING", "COMPLETED"))
        )
        return DeployedRun(whole, waiting, starting, running)

    def _ended(self, run: str) -> dict[str, Any] | None:
        state = self._ask("GET", f"flow_runs/{run}")["state"]
        return state if state["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED") else None

    def _states(self, run: str) -> list[dict[str, Any]]:
        """The latest first."""
        found = self._ask("GET", f"flow_run_states/?flow_run_id={run}")
        return sorted(found, key=lambda state: state["timestamp"], reverse=True)

    def _csrf(self) -> dict[str, str]:
        """Headers of the server's protection against forged requests."""
        found = httpx.get(f"{self.api}/csrf-token", params={"client": "benchmark"}, auth=self.auth, timeout=60)
        token = found.raise_for_status().json()["token"]
        return {"Prefect-Csrf-Token": token, "Prefect-Csrf-Client": "benchmark"}

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Prefect's API; 503 means that its database is busy."""

        def answer() -> httpx.Response | None:
            headers = {} if method == "GET" else self._csrf()
            found = httpx.request(method, f"{self.api}/{path}", json=body, headers=headers, auth=self.auth, timeout=60)
            return None if found.status_code == httpx.codes.SERVICE_UNAVAILABLE else found

        return _wait(answer, f"an answer of {path}").raise_for_status().json()


@contextmanager
def running_platform(folder: Path, settings: Settings) -> Iterator[RunningPlatform]:
    """Start it with these settings in every deployment, its data in ``folder``, and stop it whatever happens.

    Raises:
        RuntimeError: it does not start.
    """
    folder.mkdir(parents=True)
    profile, output, state = folder / "profile.yaml", folder / "up.txt", folder / "up.json"
    profile.write_text(settings.model_dump_json())  # YAML reads JSON
    command = [sys.executable, "-m", "flows.cli", "up", "--profile", str(profile), "--no-dashboard"]
    with output.open("wb") as log:
        process = subprocess.Popen(
            command, cwd=ROOT, env=environment(folder), stdout=log, stderr=log, start_new_session=True
        )

    def ready() -> RunningPlatform | None:
        """Once the workers are there."""
        if process.poll() is not None:
            raise RuntimeError(f"`ato up` ended: {output.read_text()[-2000:]}")
        with suppress(OSError, ValueError):
            written = json.loads(state.read_text())
            if "worker-gpu" in written["pids"]:
                user, _, password = written["auth"].partition(":")
                return RunningPlatform(f"{written['addresses']['prefect']}/api", httpx.BasicAuth(user, password))
        return None

    try:
        yield _wait(ready, "`ato up`")
    finally:
        with suppress(ProcessLookupError):
            os.kill(process.pid, signal.SIGTERM)
        process.wait()


def _wait(happened: Callable[[], Found | None], what: str) -> Found:
    deadline = time.monotonic() + LONGEST_WAIT
    while (found := happened()) is None:
        if time.monotonic() > deadline:
            raise RuntimeError(f"waited in vain for {what}")
        time.sleep(LOOK)
    return found
