"""The services of ``ato up``, each on loopback: command, address and health check."""

import os
import socket
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from ato.errors import InputError
from flows.engine.environment import data_folder
from flows.local.deployments import ROOT
from flows.local.prefect_api import AUTH, entry, post

HOST = "127.0.0.1"
PORTS = {"prefect": 4200, "mlflow": 5000, "dashboard": 8501}
POLL_SECONDS = 3
"""How often a worker polls for runs: the longest delay at each link of a chain of events."""


@dataclass(frozen=True)
class Service:
    """One program."""

    name: str
    """In messages, and of its log file."""
    command: tuple[str, ...]
    healthy: Callable[[], bool]
    """Whether it works now."""
    address: str | None = None
    """Of its pages."""
    environment: dict[str, str] = field(default_factory=dict)
    """Variables added to those of ``ato up``."""
    holds_runs: bool = False
    """Whether flow runs are its children: they end with it, and resume at the next start."""


def prefect_server(port: int, auth: str) -> Service:
    """The Prefect server with its pages, for whoever knows the authentication string; its database lies in PREFECT_HOME."""
    address = f"http://{HOST}:{port}"
    environment = {
        "PREFECT_SERVER_API_HOST": HOST,
        "PREFECT_SERVER_API_PORT": str(port),
        # The pages use this address, whatever the command line says.
        "PREFECT_UI_API_URL": f"{address}/api",
        "PREFECT_SERVER_API_AUTH_STRING": auth,
        "PREFECT_SERVER_API_CSRF_PROTECTION_ENABLED": "true",
        "PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS": address,
        # The second version of the pages asks an analytics service whatever PREFECT_SERVER_ANALYTICS_ENABLED says.
        "PREFECT_SERVER_UI_V2_ENABLED": "false",
        "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    }
    return Service(
        "prefect", _guarded("prefect", port), lambda: _answers(f"{address}/api/health"), address, environment
    )


def mlflow_server(port: int, database: str) -> Service:
    """MLflow's pages over the registry's database, in one process; the default of its own command is fifteen."""
    address = f"http://{HOST}:{port}"
    environment = {
        "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
        # What `mlflow server` sets from --backend-store-uri and --artifacts-destination.
        "_MLFLOW_SERVER_FILE_STORE": database,
        "_MLFLOW_SERVER_REGISTRY_STORE": database,
        "_MLFLOW_SERVER_ARTIFACT_ROOT": "mlflow-artifacts:/",
        "_MLFLOW_SERVER_ARTIFACT_DESTINATION": str(data_folder() / "mlflow-artifacts"),
        "_MLFLOW_SERVER_SERVE_ARTIFACTS": "true",
    }
    return Service("mlflow", _guarded("mlflow", port), lambda: _answers(f"{address}/health"), address, environment)


def _guarded(server: str, port: int) -> tuple[str, ...]:
    return (sys.executable, "-m", "flows.local.serving", server, "--host", HOST, "--port", str(port))


def dashboard(port: int) -> Service:
    """The dashboard over the warehouse."""
    address = f"http://{HOST}:{port}"
    command = (
        sys.executable,
        "-m",
        "dashboards",
        "--server.address",
        HOST,
        "--server.port",
        str(port),
        "--browser.gatherUsageStats",
        "false",
    )
    return Service("dashboard", command, lambda: _answers(f"{address}/_stcore/health"), address)


def worker(pool: str, api: str) -> Service:
    """A worker for the flows of one pool, one at a time, each in a process of its own."""
    name = f"worker-{pool}"
    command = (
        sys.executable,
        "-m",
        "prefect",
        "worker",
        "start",
        "--pool",
        pool,
        "--type",
        "process",
        "--name",
        worker_name(pool),
        "--limit",
        "1",
    )
    environment = {"PREFECT_WORKER_QUERY_SECONDS": str(POLL_SECONDS)}
    return Service(name, command, lambda: _online(api, pool), environment=environment, holds_runs=True)


def worker_name(pool: str) -> str:
    """Name of our worker of a pool, on the server and in the environment of its runs."""
    return f"ato-{pool}"


def online_workers(api: str, pool: str) -> int:
    """Number of online workers of a pool.

    Raises:
        httpx.HTTPError: the server does not answer, or has no such pool.
    """
    return sum(worker["status"] == "ONLINE" for worker in post(api, f"work_pools/{pool}/workers/filter", {}))


def _online(api: str, pool: str) -> bool:
    try:
        return online_workers(api, pool) > 0
    except httpx.HTTPError:
        return False


def _answers(url: str) -> bool:
    try:
        return httpx.get(url, timeout=5).is_success
    except httpx.HTTPError:
        return False


def choose_port(service: str, asked: int | None, taken: set[int]) -> int:
    """The requested port, else the service's default or the next free port above it.

    Args:
        service: name of the service, for its default port.
        asked: the requested port, if any.
        taken: ports already given to other services.

    Raises:
        InputError: the requested port is taken, or none is free.
    """
    if asked is not None:
        if asked in taken or not _free(asked):
            raise InputError(f"port {asked} is taken", where=service, cure="choose another, or leave the option out")
        return asked
    for port in range(PORTS[service], PORTS[service] + 100):
        if port not in taken and _free(port):
            return port
    raise InputError(f"no free port from {PORTS[service]} on", where=service, cure=f"name one with --{service}-port")


def _free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # as servers do: a port just released is free
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def log_path(service: str) -> Path:
    """Log file of a service."""
    return data_folder() / "logs" / f"{service}.log"


def shared_environment(api: str, mlflow: str, token: str, auth: str, dashboard: str | None = None) -> dict[str, str]:
    """Environment of all services and of the flow runs that workers start.

    Args:
        api: of the Prefect server.
        mlflow: address of MLflow's pages.
        token: marks the processes of this ``ato up``.
        auth: authentication string of the Prefect server.
        dashboard: address of the dashboard, if it runs.
    """
    root = os.environ.get("ATO_WAREHOUSE", "data/warehouse")
    # Operators of a warehouse on an object store are registered through the server: there is no folder beside it.
    registry = {"MLFLOW_TRACKING_URI": mlflow} if "://" in root else {}
    paths = [str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return dict(os.environ) | {
        "ATO_UP": token,
        "ATO_WAREHOUSE": root if "://" in root else str(Path(root).expanduser().resolve()),
        "PREFECT_HOME": os.environ.get("PREFECT_HOME") or str(data_folder() / "prefect"),
        "PREFECT_API_URL": api,
        AUTH: auth,
        "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "INFO",
        "PYTHONPATH": os.pathsep.join(paths),
        "PYTHONUNBUFFERED": "1",
        "ATO_PREFECT_UI": entry(api.removesuffix("/api"), auth),
        "ATO_MLFLOW_UI": mlflow,
        **({"ATO_DASHBOARD": dashboard} if dashboard else {}),
        **{name: os.environ.get(name) or value for name, value in registry.items()},
    }
