"""``ato doctor``: what is installed, reachable and writable, and how to fix problems."""

import os
import shutil
import sys
import tempfile
import tomllib
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ato.errors import AtoError, UnavailableError
from flows.commands.servers import Finding, servers
from flows.engine.environment import data_folder
from flows.local.deployments import ROOT
from flows.settings import Settings

FREE_GIB = 4
"""Disk space that the demo needs, with a margin."""
STATES = {True: "[green]ok[/]", False: "[bold red]broken[/]", None: "[dim]none[/]"}


def examine(settings: Settings) -> bool:
    """Print one line per component; returns False if anything that the platform needs is broken."""
    table = Table("component", "state", "found", "what to do", title_justify="left", header_style="bold")
    healthy = True
    for component, ok, found, cure in findings(settings):
        healthy &= ok is not False
        table.add_row(component, STATES[ok], escape(found), escape(cure))
    console = Console()
    (console if console.is_terminal else Console(width=180)).print(table)
    return healthy


def findings(settings: Settings) -> Iterator[Finding]:
    """(component, whether it works, what was found, cure) of everything that the platform uses.

    Args:
        settings: of the Dask scheduler to look for.
    """
    yield "python", sys.version_info >= (3, 11), sys.version.split()[0], ""
    yield from packages()
    yield "embedded model", *_attempt(_embedded_model)
    yield "embedded text", *_attempt(_embedded_text)
    yield "accelerator", *_attempt(_accelerator)
    yield "browser", *_browser()
    yield "warehouse", *_attempt(_warehouse)
    yield "registry", *_registry()
    for name, folder in (("data folder", data_folder()), ("prefect folder", _prefect_home())):
        yield name, *_writable(folder)
    free = shutil.disk_usage(_existing(data_folder())).free / 2**30
    cure = "" if free > FREE_GIB else f"free {FREE_GIB} GiB for the demo"
    yield "disk", free > FREE_GIB, f"{free:.0f} GiB free", cure
    yield from servers(settings)


def packages() -> Iterator[Finding]:
    """Packages of ``pyproject.toml``, extras included: version, and whether it is in the required range."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    needed = [Requirement(line) for line in project["dependencies"]]
    yield from (_package(requirement, "make install") for requirement in needed)
    seen = {requirement.name for requirement in needed}
    for extra, lines in project["optional-dependencies"].items():
        for requirement in map(Requirement, lines if extra != "dev" else ()):
            if requirement.name not in seen:
                yield _package(requirement, f"pip install -e '.[{extra}]'", needed=False)
            seen.add(requirement.name)


def _package(requirement: Requirement, cure: str, *, needed: bool = True) -> Finding:
    name = requirement.name
    try:
        version = metadata.version(name)
    except metadata.PackageNotFoundError:
        return name, False if needed else None, "not installed", cure
    if requirement.specifier.contains(version, prereleases=True):
        return name, True, version, ""
    return name, False, f"{version}, required is {requirement.specifier}", cure


def _attempt(look: Callable[[], str]) -> tuple[bool, str, str]:
    try:
        return True, look(), ""
    except AtoError as error:
        return False, error.what if error.where is None else f"{error.what} ({error.where})", error.cure or ""


def _embedded_model() -> str:
    from ato.io.embedded import model_file

    path = model_file()
    return f"{path.name}, {path.stat().st_size / 2**20:.0f} MiB, hash as pinned"


def _embedded_text() -> str:
    from warehouse.datasets.corpora import read_documents

    return ", ".join(f"{name}, {sum(1 for _ in read_documents(name)):,} documents" for name in ("sotu", "encyclopedia"))


def _accelerator() -> str:
    from ato.numerics.devices import choose_device, choose_dtype

    device = choose_device("auto")
    return f"{device}, {str(choose_dtype('auto', device)).removeprefix('torch.')}, {os.cpu_count()} cores"


def _warehouse() -> str:
    from warehouse.storage.manifests import manifests
    from warehouse.storage.warehouse import Warehouse
    from warehouse.tables import SCHEMA_VERSION

    warehouse = Warehouse()
    if warehouse.storage.is_local:
        writable, found, cure = _writable(Path(warehouse.root))
        if not writable:
            raise UnavailableError(found, cure=cure)
    return f"{warehouse.root}, writable, schema {SCHEMA_VERSION}, {len(manifests(warehouse))} stage runs"


def _registry() -> tuple[bool | None, str, str]:
    """The database of registered operators, if it is a file here and there is one."""
    from warehouse.registry.database import check_schema, database_path, tracking_uri

    address = os.environ.get("MLFLOW_TRACKING_URI") or tracking_uri(data_folder() / "warehouse")
    path = database_path(address)
    if path is None or not path.exists():
        return None, "made when the first operator is registered" if path else address, ""

    def look() -> str:
        if path.stat().st_size:
            check_schema(path)
        return f"{path}, {path.stat().st_size / 2**20:.1f} MiB"

    return _attempt(look)


def _writable(folder: Path) -> tuple[bool, str, str]:
    """Whether a file can be created there: permissions alone do not reveal full disks and read-only file systems."""
    there = _existing(folder)
    try:
        with tempfile.TemporaryFile(dir=there):
            return True, f"{folder}, {'writable' if there == folder else 'will be created'}", ""
    except OSError as error:
        return False, f"{folder} cannot be written: {error.strerror}", "point ATO_WAREHOUSE at a folder of your own"


def _prefect_home() -> Path:
    return Path(os.environ.get("PREFECT_HOME") or Path.home() / ".prefect")


def _browser() -> tuple[bool | None, str, str]:
    """Only the tests of the pages need one."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        return None, "no Chromium: only the tests of the pages need it", "apt-get install chromium"
    return True, found, ""


def _existing(path: Path) -> Path:
    return path if path.exists() else _existing(path.parent)
