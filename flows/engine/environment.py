"""Environment of every process of the platform: no telemetry, threads that share a processor, all files below one data folder."""

import ctypes
import os
import secrets
import tomllib
import warnings
from contextlib import suppress
from pathlib import Path

QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "GX_ANALYTICS_ENABLED": "false",
    "STREAMLIT_BROWSER_GATHER_USAGE_STATS": "false",
    "WANDB_MODE": "disabled",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_VERBOSITY": "error",
    "TOKENIZERS_PARALLELISM": "true",
    "GOMP_SPINCOUNT": "1000",  # threads that wait for one another sleep: spinning, they starve beside any other process
    "PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS": "1800",
    "PREFECT_API_REQUEST_TIMEOUT": "300",
    "PREFECT_SERVER_DATABASE_TIMEOUT": "60",
    "PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL": "CRITICAL",
}
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # of glibc's malloc.h


def prepare_environment(*, debug: bool = False) -> None:
    """Set the defaults above for variables that the user has not set; call it before Prefect is imported.

    Prefect's own files lie beside the warehouse unless PREFECT_HOME or PREFECT_API_URL says otherwise.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    _keep_freed_memory()
    if debug:
        os.environ["PREFECT_LOGGING_HANDLERS_CONSOLE_LEVEL"] = "DEBUG"
    if "PREFECT_API_URL" in os.environ:
        return
    if "PREFECT_HOME" not in os.environ:
        os.environ["PREFECT_HOME"] = str(data_folder() / "prefect")
        # Settings are judged before anything is made: Prefect, imported by then, makes its folder when it needs it.
        warnings.filterwarnings("ignore", message="Failed to create the Prefect home directory")
    if not _profile_has_server():
        _lock_temporary_server()


def make_data_folder() -> None:
    """Create the data folder, before Prefect is imported: it creates only the last folder of its own.

    Raises:
        InputError: the root of the warehouse cannot be a folder.
        UnavailableError: nothing can be written there.
    """
    from warehouse.storage.warehouse import Warehouse

    Warehouse().storage.check_writable()
    data_folder().mkdir(parents=True, exist_ok=True)


def _profile_has_server() -> bool:
    """Whether Prefect's active profile, in PREFECT_HOME, names a server, which may have an authentication string of its own."""
    try:
        found = tomllib.loads(Path(os.environ["PREFECT_HOME"]).expanduser().joinpath("profiles.toml").read_text())
    except (OSError, ValueError):
        return False
    active = os.environ.get("PREFECT_PROFILE") or found.get("active")
    return "PREFECT_API_URL" in found.get("profiles", {}).get(active, {})


def _lock_temporary_server() -> None:
    """Give the server that a run starts for itself a random authentication string: any page in a browser could ask it."""
    server, client = "PREFECT_SERVER_API_AUTH_STRING", "PREFECT_API_AUTH_STRING"
    auth = os.environ.get(server) or os.environ.get(client) or f"ato:{secrets.token_urlsafe(32)}"
    os.environ[server] = os.environ[client] = auth


def _keep_freed_memory() -> None:
    """Let malloc keep large freed blocks for the next batch.

    Activations are freed and allocated again for each batch; returned to the system in between they cost a fifth of the
    time of a forward pass in page faults. Variables such as MALLOC_TRIM_THRESHOLD_ would affect child processes only.
    """
    with suppress(OSError, AttributeError):  # other malloc libraries than glibc's have no such setting
        libc = ctypes.CDLL(None)
        libc.mallopt(_M_MMAP_THRESHOLD, 1 << 30)
        libc.mallopt(_M_TRIM_THRESHOLD, (1 << 31) - 1)


def data_folder() -> Path:
    """The folder beside a local warehouse; ``./data`` when the warehouse is on an object store."""
    root = (os.environ.get("ATO_WAREHOUSE") or "data/warehouse").removeprefix("file://")
    return Path("data").resolve() if "://" in root else Path(root).expanduser().resolve().parent
