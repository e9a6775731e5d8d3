"""State of a running ``ato up`` for other terminals (its process and addresses), and the lock that allows only one."""

import fcntl
import json
import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ato.errors import InputError
from flows.engine.environment import data_folder
from flows.local.prefect_api import AUTH, entry

STATE, LOCK = "up.json", "up.lock"


@dataclass(frozen=True)
class UpState:
    """A running ``ato up``, as stored in ``data/up.json``."""

    pid: int
    token: str
    """Environment variable ``ATO_UP`` of every process that it started."""
    addresses: dict[str, str] = field(default_factory=dict)
    """Service -> address of its pages."""
    pids: dict[str, int] = field(default_factory=dict)
    """Service -> process."""
    auth: str = ""
    """Authentication string of the Prefect server: only the user may read the file."""

    @property
    def pages(self) -> dict[str, str]:
        """Service -> link to its pages; Prefect's holds the authentication string, MLflow's leads to the models."""
        links = dict(self.addresses)
        if self.auth and "prefect" in links:
            links["prefect"] = entry(links["prefect"], self.auth)
        if "mlflow" in links:
            links["mlflow"] += "/#/models"
        return links

    def write(self) -> None:
        """Replace the file atomically, so that no reader sees half of it; nobody but the user may read it."""
        staging = state_path().with_suffix(f".{os.getpid()}")
        staging.unlink(missing_ok=True)
        with os.fdopen(os.open(staging, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(json.dumps(asdict(self), indent=1) + "\n")
        os.replace(staging, state_path())


def state_path() -> Path:
    """The file, beside the warehouse."""
    return data_folder() / STATE


def read_state() -> UpState | None:
    """The state written last; None if the last ``ato up`` ended normally, or there was none."""
    try:
        values: dict[str, Any] = json.loads(state_path().read_text())
        return UpState(**values)
    except (OSError, ValueError, TypeError):
        return None


@contextmanager
def only_one() -> Iterator[UpState | None]:
    """Lock the data folder for one ``ato up``; yields the state that a killed one left behind, if any.

    The kernel holds the lock: it ends with its process, however that ends.

    Raises:
        InputError: another one holds it.
    """
    data_folder().mkdir(parents=True, exist_ok=True)
    with (data_folder() / LOCK).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            state = read_state()
            pid = state.pid if state else "unknown"
            pages = ", ".join(state.pages.values()) if state else ""
            raise InputError(
                f"`ato up` is already running on this data folder as process {pid}",
                where=pages or data_folder(),
                cure=f"use that one, or stop it with: kill {pid}",
            ) from None
        yield read_state()
        state_path().unlink(missing_ok=True)


def running_api() -> str | None:
    """Address of the API of the Prefect server that ``ato up`` runs on our data folder; None if none answers."""
    state = read_state()
    if state is None or "prefect" not in state.addresses:
        return None
    api = f"{state.addresses['prefect']}/api"
    try:
        with urllib.request.urlopen(f"{api}/health", timeout=3):
            return api
    except OSError:
        return None


def use_running_server() -> None:
    """Make Prefect use the server of a running ``ato up``, unless PREFECT_API_URL is set; call it before importing Prefect."""
    if not os.environ.get("PREFECT_API_URL") and (api := running_api()):
        os.environ["PREFECT_API_URL"] = api
        if (state := read_state()) and state.auth:
            os.environ[AUTH] = state.auth
