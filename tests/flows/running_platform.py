"""A whole platform of a test's own: ``ato up`` as a child on free ports and a temporary folder, and its API."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import psutil
import yaml

from flows.local.recovery import MOST_RESTARTS
from flows.local.state import UpState
from flows.settings import Settings

ROOT = Path(__file__).parents[2]
PATIENCE = 400
"""Seconds after which something that should happen is taken not to; no statement about speed."""


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class WhileBusy(httpx.HTTPTransport):
    """Asks again while the server says 503, as Prefect's own client does: its database is busy."""

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        """The first answer that is another, or the last 503."""
        deadline = time.monotonic() + PATIENCE
        while True:
            answer = super().handle_request(request)
            if answer.status_code != 503 or time.monotonic() > deadline:
                return answer
            answer.close()
            time.sleep(1)


class Platform:
    """``ato up`` on a data folder, with forms that show the given settings."""

    def __init__(self, folder: Path, settings: Settings):
        self.data, self.output = folder / "data", folder / "up.txt"
        self.profile = folder / "profile.yaml"
        self.profile.write_text(yaml.safe_dump(settings.model_dump(mode="json")))
        self.environment = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_API")}
        self.environment.pop("PREFECT_HOME", None)
        self.environment |= {
            "ATO_WAREHOUSE": str(self.data / "warehouse"),
            "COLUMNS": "200",
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        }

    def start(self) -> None:
        """Start it and wait until it says that it is ready."""
        self.port = free_port()
        command = [
            "up",
            "--profile",
            str(self.profile),
            "--prefect-port",
            str(self.port),
            "--mlflow-port",
            str(free_port()),
            "--dashboard-port",
            str(free_port()),
        ]
        self.output.write_text("")
        with self.output.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "flows.cli", *command],
                cwd=ROOT,
                env=self.environment,
                stdout=output,
                stderr=output,
            )
        self.wait_for(lambda: "Ready" in self.said() or self.process.poll() is not None, "the platform to be ready")
        assert self.process.poll() is None, self.said()

    def said(self) -> str:
        """What it printed."""
        return self.output.read_text()

    @property
    def address(self) -> str:
        """Of Prefect's pages."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def state(self) -> UpState:
        """As `ato up` wrote it down."""
        return UpState(**json.loads((self.data / "up.json").read_text()))

    @property
    def entry(self) -> str:
        """The link to Prefect's pages that it printed."""
        return next(word for word in reversed(self.said().split()) if word.startswith(f"{self.address}/enter#"))

    def ato(self, *arguments: str) -> subprocess.CompletedProcess:
        """Another command, as in another terminal."""
        return subprocess.run(
            [sys.executable, "-m", "flows.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )

    def post(self, path: str, **body: Any) -> Any:
        """Ask Prefect's API."""
        return self.ask("POST", path, body)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Ask Prefect's API; no answer means that it has been killed and comes back."""
        deadline = time.monotonic() + PATIENCE
        while True:
            with suppress(httpx.TransportError), self.client() as client:
                answer = client.request(method, f"{self.address}/api/{path}", json=body)
                return answer.raise_for_status().json() if answer.content else None
            assert time.monotonic() < deadline, self.said()
            time.sleep(1)

    @contextmanager
    def client(self) -> Iterator[httpx.Client]:
        """A client that the server knows, as Prefect's own are."""
        with httpx.Client(
            auth=httpx.BasicAuth(*self.state.auth.split(":")), timeout=60, transport=WhileBusy()
        ) as client:
            csrf = client.get(f"{self.address}/api/csrf-token", params={"client": "test"})
            if csrf.is_success:
                client.headers.update({"Prefect-Csrf-Token": csrf.json()["token"], "Prefect-Csrf-Client": "test"})
            yield client

    def deployment(self, name: str) -> dict[str, Any]:
        """A deployment as the server has it."""
        return self.ask("GET", f"deployments/name/{name}/{name}")

    def run(self, name: str, **parameters: Any) -> str:
        """Start a deployment; returns the id of the run."""
        return self.post(
            f"deployments/{self.deployment(name)['id']}/create_flow_run",
            parameters=parameters,
            state={"type": "SCHEDULED"},
        )["id"]

    def runs(self, name: str) -> list[dict[str, Any]]:
        """Runs of a deployment; those of subflows are none."""
        of = {"id": {"any_": [self.deployment(name)["id"]]}}
        return self.post("flow_runs/filter", deployments=of, sort="EXPECTED_START_TIME_ASC")

    def finished(self, name: str) -> list[dict[str, Any]]:
        """Its completed runs; a failed one, or one that has crashed too often, fails the test with its message."""
        runs = self.runs(name)
        for run in runs:
            over = run["state_type"] == "FAILED" or (
                run["state_type"] == "CRASHED" and run["run_count"] > MOST_RESTARTS
            )
            assert not over, f"{run['name']}: {run['state']['message']}"
        return [run for run in runs if run["state_type"] == "COMPLETED"]

    def wait_for(self, happened: Callable[[], Any], what: str, seconds: float = PATIENCE) -> Any:
        """Wait until something is true; returns it."""
        deadline = time.monotonic() + seconds
        while not (result := happened()):
            assert time.monotonic() < deadline, f"waited in vain for {what}; the platform said:\n{self.said()}"
            time.sleep(0.5)
        return result

    def stop(self) -> int:
        """SIGTERM, as a service manager sends it; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)

    def pid(self, service: str) -> int:
        """Process of a service, as `ato up` wrote it down."""
        return self.state.pids[service]

    def processes(self, **marks: str) -> list[psutil.Process]:
        """All processes that work on the data folder, and have these environment variables."""
        found, marks = [], {"ATO_WAREHOUSE": str(self.data / "warehouse")} | marks
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if marks.items() <= process.environ().items():
                    found.append(process)
        return found


@contextmanager
def platform(folder: Path, settings: Settings) -> Iterator[Platform]:
    """A platform that is started, and stopped at the end whatever happens."""
    there = Platform(folder, settings)
    try:
        there.start()
        yield there
    finally:
        if there.process.poll() is None:
            there.stop()
