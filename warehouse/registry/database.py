"""The database of the operator registry: its address, and its atomic creation."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ato.errors import SettingsError
from warehouse.storage.staging import staging_name

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

_creating = threading.Lock()


def tracking_uri(warehouse_root: str | Path) -> str:
    """Address of the registry: ``MLFLOW_TRACKING_URI``, or an SQLite file ``mlflow.db`` beside the warehouse.

    Raises:
        SettingsError: the warehouse is an object store and no tracking server is named.
    """
    if uri := os.environ.get("MLFLOW_TRACKING_URI"):
        return uri
    if "://" in str(warehouse_root):
        raise SettingsError(
            "the registry database cannot be in an object store",
            where=warehouse_root,
            cure="set MLFLOW_TRACKING_URI to a tracking server or to sqlite:///PATH",
        )
    return f"sqlite:///{Path(warehouse_root).absolute().parent / 'mlflow.db'}"


def exists(warehouse_root: str | Path) -> bool:
    """Whether the registry exists; a tracking server is assumed to."""
    if "://" in str(warehouse_root) and not os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    uri = tracking_uri(warehouse_root)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def open_client(uri: str) -> "MlflowClient":
    """An MLflow client; creates a missing SQLite database first, and silences MLflow's logs."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.tracking import MlflowClient

    # mlflow.pyfunc warns on every save that it cannot infer a schema; arrays and frames of any width are meant.
    for logger, level in (("mlflow", logging.WARNING), ("mlflow.pyfunc", logging.ERROR), ("alembic", logging.WARNING)):
        logging.getLogger(logger).setLevel(level)
    if uri.startswith("sqlite:///"):
        _ensure_database(Path(uri.removeprefix("sqlite:///")))
    return MlflowClient(uri, uri)


def _ensure_database(path: Path) -> None:
    """Create MLflow's database atomically.

    MLflow runs some fifty migrations on a new file. If killed half-way, it would refuse the file for ever; with one
    fsync per statement, they are many times slower. So they run on a staging file without fsync, which is then linked
    to its name; if two processes race, the first file stays.
    """
    from mlflow.tracking import MlflowClient

    path.parent.mkdir(parents=True, exist_ok=True)
    staging = path.with_name(staging_name(path.name))
    with _creating:
        if path.exists():
            return
        try:
            with _without_fsync(staging):
                MlflowClient(f"sqlite:///{staging}", f"sqlite:///{staging}").search_experiments(max_results=1)
            with closing(sqlite3.connect(staging)) as database:
                # Kept in the file: half the fsyncs of each registration, and the MLflow pages do not block it.
                database.execute("pragma journal_mode = wal")
            with staging.open("rb") as file:
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                os.link(staging, path)
        finally:
            staging.unlink(missing_ok=True)


@contextmanager
def _without_fsync(database: Path) -> Iterator[None]:
    """Within the block, connections to this SQLite file skip fsync; they are closed at its end."""
    from sqlalchemy import event
    from sqlalchemy.engine import Engine

    opened: list[sqlite3.Connection] = []

    def relax(connection: Any, record: Any) -> None:
        is_ours = isinstance(connection, sqlite3.Connection) and any(
            row[2] and Path(row[2]).name == database.name for row in connection.execute("pragma database_list")
        )
        if is_ours:
            connection.execute("pragma synchronous = off")
            connection.execute("pragma journal_mode = memory")
            opened.append(connection)

    event.listen(Engine, "connect", relax)
    try:
        yield
    finally:
        event.remove(Engine, "connect", relax)
        for connection in opened:
            connection.close()
