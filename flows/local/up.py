"""``ato up``: the whole platform on this machine, on loopback: servers, workers and pages, until Ctrl-C or SIGTERM."""

import os
import secrets
import signal
import subprocess
import sys
import time
import uuid
from dataclasses import replace
from types import FrameType
from typing import NoReturn

from rich.console import Console

from ato.errors import InputError, UnavailableError
from flows.engine.environment import data_folder
from flows.engine.own_server import end_orphaned_servers
from flows.local.deployments import POOLS, ROOT
from flows.local.prefect_api import AUTH
from flows.local.recovery import LostWorker, RunsHere, lost_worker, resume_all
from flows.local.services import (
    Service,
    choose_port,
    dashboard,
    log_path,
    mlflow_server,
    prefect_server,
    shared_environment,
    worker,
    worker_name,
)
from flows.local.state import UpState, only_one
from flows.local.supervisor import Supervisor, end_marked

console = Console(highlight=False)
ENDINGS = (signal.SIGINT, signal.SIGTERM)
LOOK_SECONDS = 5
"""How often the processes of flow runs are looked for; a run takes longer to get from its start to its first state."""


class Stopped(BaseException):
    """The user or the system asks for everything to stop."""


def up(
    *,
    profile: str = "demo",
    with_dashboard: bool = True,
    prefect_port: int | None = None,
    mlflow_port: int | None = None,
    dashboard_port: int | None = None,
) -> None:
    """Start everything, register the deployments, print the addresses, and watch the services until told to stop.

    Args:
        profile: its settings are shown in the forms at first.
        with_dashboard: whether to start the dashboard.
        prefect_port: default: 4200, or the next free port; likewise the others.

    Raises:
        InputError: an ``ato up`` is already running on this data folder, or a requested port is taken.
        UnavailableError: a service does not start, or keeps ending.
    """
    if address := os.environ.get("PREFECT_API_URL"):
        raise InputError(
            "PREFECT_API_URL is set to another Prefect server",
            where=address,
            cure="unset it to run everything here; to add this machine to that server: prefect worker start --pool gpu",
        )
    for signal_ in ENDINGS:
        signal.signal(signal_, _stop)
    asked = {"prefect": prefect_port, "mlflow": mlflow_port, "dashboard": dashboard_port}
    with only_one() as left_behind:
        _clear(left_behind)
        supervisor = None
        try:
            token, auth = uuid.uuid4().hex, f"ato:{secrets.token_urlsafe(32)}"
            services = _services(asked, with_dashboard, auth)
            addresses = {service.name: service.address for service in services if service.address}
            api = f"{addresses['prefect']}/api"
            environment = shared_environment(api, addresses["mlflow"], token, auth, addresses.get("dashboard"))
            os.environ[AUTH] = auth  # of this process's own requests
            supervisor = Supervisor(environment, lambda line: console.print(line, markup=False, soft_wrap=True))
            state = UpState(os.getpid(), token, addresses, auth=auth)
            _run(supervisor, services, state, environment, api, profile)
        except Stopped:
            console.print("Stopping ...")
        finally:
            for signal_ in ENDINGS:
                signal.signal(signal_, signal.SIG_IGN)  # a second Ctrl-C must not leave half of the services running
            if supervisor is not None:
                supervisor.stop()
    console.print("All stopped. Unfinished flow runs resume with the next `ato up`.")


def _run(
    supervisor: Supervisor, services: list[Service], state: UpState, environment: dict[str, str], api: str, profile: str
) -> NoReturn:
    """Start the servers, then register deployments, then start the workers; then watch."""
    state.write()  # before anything runs: if this process is killed, the next one finds what it started
    console.print(f"Starting {', '.join(service.name for service in services)} ...")
    supervisor.start(*services)
    if n := resume_all(api):
        console.print(f"{n} flow runs were unfinished when the platform ended: scheduled again.")
    _child(["deploy", "--profile", profile], environment)
    pools = {worker(pool, api).name: pool for pool in POOLS}
    supervisor.start(*(worker(pool, api) for pool in POOLS))
    replace(state, pids=supervisor.pids).write()
    _show(state)
    unreported: list[LostWorker] = []
    runs, next_look = RunsHere(state.token), 0.0
    for restarted in supervisor.watch():
        if time.monotonic() > next_look:
            runs.look(api)
            next_look = time.monotonic() + LOOK_SECONDS
        if restarted:
            replace(state, pids=supervisor.pids).write()
        lost = [pools[name] for name in restarted if name in pools]
        unreported += [lost_worker(pool, worker_name(pool), state.token) for pool in lost]
        unreported = [worker for worker in unreported if not worker.report(api)]
    raise AssertionError("watch() never returns")


def _services(asked: dict[str, int | None], with_dashboard: bool, auth: str) -> list[Service]:
    """The services with pages, each on a free port."""
    ports: dict[str, int] = {}
    for name in ("prefect", "mlflow", *(["dashboard"] if with_dashboard else [])):
        ports[name] = choose_port(name, asked[name], set(ports.values()))
    _announce_moved(ports, asked)
    found = [prefect_server(ports["prefect"], auth), mlflow_server(ports["mlflow"], _registry())]
    return found + [dashboard(port) for name, port in ports.items() if name == "dashboard"]


def _announce_moved(ports: dict[str, int], asked: dict[str, int | None]) -> None:
    from flows.local.services import PORTS

    for name, port in ports.items():
        if asked[name] is None and port != PORTS[name]:
            console.print(f"Port {PORTS[name]} is taken: {name} uses {port}.")


def _registry() -> str:
    """Address of the registry's database, which is created completely before MLflow's server opens it."""
    root = os.environ.get("ATO_WAREHOUSE", "data/warehouse")
    local = root if "://" not in root else str(data_folder() / "warehouse")
    code = "import sys; from warehouse import registry_address; print(registry_address(sys.argv[1]))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", code, local], env=environment, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise UnavailableError(
            "MLflow's database cannot be opened",
            where=data_folder() / "mlflow.db",
            cure=(done.stderr.strip().splitlines() or ["see `ato doctor`"])[-1],
        )
    return done.stdout.strip().splitlines()[-1]


def _child(arguments: list[str], environment: dict[str, str]) -> None:
    """Run one of our own commands in a process of its own, so that its imports do not stay in memory."""
    done = subprocess.run([sys.executable, "-m", "flows.cli", *arguments], env=environment, check=False)
    if done.returncode:
        raise UnavailableError(f"`ato {' '.join(arguments)}` failed", cure="see the message above")


def _clear(left_behind: UpState | None) -> None:
    """End processes that a killed ``ato up`` left running: they hold ports and databases."""
    ended = end_marked(left_behind.token) if left_behind else []
    ended += end_orphaned_servers()
    if ended:
        console.print(
            f"Ended {len(ended)} processes that an earlier run left behind: {', '.join(map(str, ended))}",
            soft_wrap=True,
        )


def _show(state: UpState) -> None:
    meaning = {
        "prefect": "runs, schedules and forms: Deployments > pipeline > Run > Custom run",
        "mlflow": "the registry of operators",
        "dashboard": "the results",
    }
    for name, link in state.pages.items():
        console.print(f"[bold]{name}[/]: {meaning[name]}")
        console.print(f"  {link}", markup=False, soft_wrap=True)  # one that is folded leads nowhere
    console.print("Prefect's pages open by this link only: it holds the key of this start. Keep it to yourself.")
    console.print(f"Logs: {log_path('prefect').parent}   Stop with Ctrl-C.", soft_wrap=True)
    console.print(f"Ready {time.strftime('%H:%M:%S')}. `ato run` and `ato doctor` in other terminals use this server.")


def _stop(number: int, frame: FrameType | None) -> None:
    raise Stopped
