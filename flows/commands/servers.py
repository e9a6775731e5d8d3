"""The part of ``ato doctor`` about servers: which ones are in use, their versions, and whether they answer."""

import os
import socket
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from urllib.parse import urlsplit

import httpx

from flows.engine.environment import data_folder
from flows.local.deployments import POOLS
from flows.local.prefect_api import auth_of_environment
from flows.local.state import UpState, read_state, running_api
from flows.settings import Settings

Finding = tuple[str, bool | None, str, str]
"""(component, whether it works or None if it is absent and not needed, what was found, what to do)."""


def servers(settings: Settings) -> Iterator[Finding]:
    """Everything that should answer at an address, with what to do if it does not."""
    state = read_state()
    api = os.environ.get("PREFECT_API_URL", "").rstrip("/") or running_api()
    yield "ato up", *_up(state)
    yield "prefect server", *_prefect_server(api)
    yield "prefect database", *_prefect_database()
    for pool in POOLS if api else ():
        yield f"worker, pool {pool}", *_workers(api or "", pool)
    yield "mlflow server", *_mlflow_server(state)
    yield "dashboard", *_dashboard(state)
    yield "dask scheduler", *_dask_scheduler(settings.fan_out.scheduler)


def _up(state: UpState | None) -> tuple[bool | None, str, str]:
    if state is None:
        return None, "not running on this data folder", "ato up, for schedules, pages and events"
    if not os.path.exists(f"/proc/{state.pid}"):
        return False, f"process {state.pid} was killed", "start it again: `ato up` ends what it left behind and resumes"
    return True, f"process {state.pid}, logs in {data_folder() / 'logs'}", ""


def _prefect_server(api: str | None) -> tuple[bool | None, str, str]:
    if not api:
        return None, "none is running: each command starts its own", "ato up, for schedules and pages"
    version, fault = _ask(f"{api}/admin/version", auth_of_environment())
    if fault:
        return False, f"{api}: {fault}", "start it with `ato up`, or unset PREFECT_API_URL"
    ours = metadata.version("prefect")
    cure = "" if version == ours else f"the server has {version}, this program {ours}: install the same version on both"
    return version == ours, f"{version} at {api}", cure


def _prefect_database() -> tuple[bool | None, str, str]:
    """The database of a server started here; its address may contain a password and is not shown."""
    names = ("PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_DATABASE_CONNECTION_URL")
    name, address = next(((name, os.environ[name]) for name in names if os.environ.get(name)), ("", ""))
    if not address.startswith("postgresql"):
        return True, "SQLite", "PostgreSQL for more than four runs at once: docs/scale-out.md"
    parts = urlsplit(address)
    fault = _refused(parts.hostname or "localhost", parts.port or 5432)
    if fault:
        return False, f"PostgreSQL at {parts.hostname}: {fault}", f"start it, or unset {name}"
    return True, f"PostgreSQL at {parts.hostname}, database {parts.path.strip('/')}", ""


def _workers(api: str, pool: str) -> tuple[bool, str, str]:
    from flows.local.services import online_workers

    try:
        n = online_workers(api, pool)
    except httpx.HTTPStatusError:
        return False, "the server has no such pool", "ato deploy"
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return False, type(error).__name__, "see prefect server"
    return n > 0, f"{n} online", "" if n else f"ato up, or: prefect worker start --pool {pool}"


def _mlflow_server(state: UpState | None) -> tuple[bool | None, str, str]:
    address = os.environ.get("MLFLOW_TRACKING_URI") or (state.addresses.get("mlflow", "") if state else "")
    if not address.startswith("http"):
        return None, f"none is running: {address or data_folder() / 'mlflow.db'}", "ato up, for pages"
    version, fault = _ask(f"{address.rstrip('/')}/version")
    if fault:
        return False, f"{address}: {fault}", "start it with `ato up`, or unset MLFLOW_TRACKING_URI"
    return True, f"{version} at {address}", ""


def _dashboard(state: UpState | None) -> tuple[bool | None, str, str]:
    address = state.addresses.get("dashboard", "") if state else ""
    if not address:
        return None, "not running", "ato up"
    _, fault = _ask(f"{address}/_stcore/health")
    return (
        not fault,
        f"{address}: {fault}" if fault else address,
        "see its log: data/logs/dashboard.log" if fault else "",
    )


def _dask_scheduler(address: str) -> tuple[bool | None, str, str]:
    if not address:
        return None, "none: all work runs in one process", "--set fan_out.scheduler=local, or an address"
    if not find_spec("prefect_dask"):
        return False, f"{address}, but Dask is not installed", "pip install -e '.[dask]'"
    if address == "local":
        return True, "started for each run", ""
    parts = urlsplit(address)
    fault = _refused(parts.hostname or address, parts.port or 8786)
    return not fault, f"{address}: {fault}" if fault else address, "start one with `dask scheduler`" if fault else ""


def _ask(url: str, auth: httpx.BasicAuth | None = None) -> tuple[str, str]:
    """(answer, fault) of a request; one of them is empty."""
    try:
        answer = httpx.get(url, auth=auth, timeout=5).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return "", str(error).splitlines()[0] if str(error) else type(error).__name__
    return answer.text.strip().strip('"'), ""


def _refused(host: str, port: int) -> str:
    """Why nothing answers at a port; empty if something does."""
    try:
        with socket.create_connection((host, port), timeout=5):
            return ""
    except OSError as error:
        return f"port {port}: {error.strerror or error}"
