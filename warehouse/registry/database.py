"""The database behind the operator registry: where it is, and how it is created whole or not at all."""

import logging
import os
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ato.errors import SettingsError
from warehouse.storage.backends import staging_name

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
    """Whether there is a registry for this warehouse; a tracking server is taken to be there."""
    if "://" in str(warehouse_root) and not os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    uri = tracking_uri(warehouse_root)
    return not uri.startswith("sqlite:///") or Path(uri.removeprefix("sqlite:///")).exists()


def open_client(uri: str) -> "MlflowClient":
    """A client on the database, which is created first where it is a missing SQLite file; MLflow kept quiet."""
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
    """Create MLflow's database whole or not at all.

    MLflow runs some fifty migrations on a new file: killed half-way it would refuse the file for ever, and with
    one fsync a statement they take many times longer than the work itself. So they run on a staging file without
    fsync, which then gets its name in one step; whoever comes second keeps the first one's file.
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
    """Connections to this one SQLite file skip fsync while the block runs, and are closed after it."""
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
