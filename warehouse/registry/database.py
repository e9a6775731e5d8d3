"""The database of the operator registry: its address, and its atomic creation."""

import logging
import os
import shlex
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote, unquote

from ato.errors import DamagedFileError, SchemaVersionError, SettingsError
from warehouse.storage.staging import staging_name
from warehouse.storage.warehouse import Warehouse

if TYPE_CHECKING:
    from mlflow.tracking import MlflowClient

EXPERIMENT = "operators"
_PLACES = {
    "experiments": ("artifact_location",),
    "runs": ("artifact_uri",),
    "model_versions": ("source", "storage_location"),
}
"""Tables of MLflow -> columns with addresses of files."""
_creating = threading.Lock()
_empty: list[bytes] = []
"""The database that this process has made, as it was before its first use: migrations take half a second each time."""


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
    return database_uri(Path(warehouse_root).expanduser().absolute().parent / "mlflow.db")


def registry_address(warehouse_root: str | Path | None = None) -> str:
    """Address of the registry for ``mlflow.set_tracking_uri``, once it is ready: made, readable, its models in place.

    Args:
        warehouse_root: default as for ``Warehouse``.

    Raises:
        as ``open_client``.
    """
    root = Warehouse(warehouse_root).root
    open_client(tracking_uri(root), root)
    return tracking_uri(root)


def database_uri(path: Path) -> str:
    """Address of an SQLite file for MLflow; a name with ``?`` or ``%`` needs SQLite's own form of addresses.

    That form names the driver too: below plain ``sqlite:///`` MLflow would make a folder ``file:`` where it is called.
    """
    return f"sqlite+pysqlite:///file:{quote(str(path))}?uri=true" if set("?%") & set(str(path)) else f"sqlite:///{path}"


def database_path(uri: str) -> Path | None:
    """The SQLite file of an address; None for a server or another database."""
    scheme, _, rest = uri.partition(":///")
    if scheme not in ("sqlite", "sqlite+pysqlite"):
        return None
    place = rest.split("?")[0]
    return Path(unquote(place.removeprefix("file:")) if place.startswith("file:") else place)


def exists(warehouse_root: str | Path) -> bool:
    """Whether the registry exists; a tracking server is assumed to."""
    if "://" in str(warehouse_root) and not os.environ.get("MLFLOW_TRACKING_URI"):
        return False
    path = database_path(tracking_uri(warehouse_root))
    return path is None or (path.exists() and path.stat().st_size > 0)


def open_client(uri: str, warehouse_root: str | Path | None = None) -> "MlflowClient":
    """An MLflow client; creates a missing SQLite database first, and silences MLflow's logs.

    Args:
        uri: of the registry.
        warehouse_root: local folder beside whose database the registry lies. If both were moved or copied together, the
            database's names of files are made those of this folder.

    Raises:
        DamagedFileError: the file is no database of MLflow.
        SchemaVersionError: it was written by another version of MLflow.
    """
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    from mlflow.tracking import MlflowClient

    # mlflow.pyfunc warns on every save that it cannot infer a schema; arrays and frames of any width are meant.
    for logger, level in (("mlflow", logging.WARNING), ("mlflow.pyfunc", logging.ERROR), ("alembic", logging.WARNING)):
        logging.getLogger(logger).setLevel(level)
    if path := database_path(uri):
        _ensure_database(path)
        check_schema(path)
        if (
            warehouse_root is not None
            and "://" not in str(warehouse_root)
            and not os.environ.get("MLFLOW_TRACKING_URI")
        ):
            _adopt(path, Path(warehouse_root).expanduser().absolute())
    return MlflowClient(uri, uri)


def artifact_root(warehouse_root: str | Path) -> str:
    """Where the registry's files lie, as MLflow names it: it reads ``%`` in a plain path as the start of a code."""
    path = Path(warehouse_root).expanduser().absolute() / "artifacts" / "mlflow"
    return path.as_uri() if "%" in str(path) else str(path)


def checkpoint(uri: str) -> None:
    """Write what lies in SQLite's write-ahead log into ``mlflow.db`` itself, so that a copy of this one file is whole."""
    path = database_path(uri)
    if path is not None and path.exists():
        with closing(sqlite3.connect(path, timeout=30)) as database:
            database.execute("pragma wal_checkpoint(truncate)")


def check_schema(path: Path) -> None:
    """Raise an error of one line if this version of MLflow cannot use the database.

    Raises:
        DamagedFileError: the file is no database of MLflow.
        SchemaVersionError: it was written by another version of MLflow.
    """
    try:
        with closing(sqlite3.connect(path, timeout=30)) as database:
            [(found,)] = database.execute("select version_num from alembic_version").fetchall()
    except (sqlite3.DatabaseError, ValueError) as error:
        raise DamagedFileError(
            f"the registry is not a database of MLflow ({error})",
            where=path,
            cure=f"put a copy of it there, or move it away to begin a new registry: mv {shlex.quote(str(path))}* /tmp",
        ) from error
    known, newest = _schemas()
    if found == newest:
        return
    if found in known:
        name = shlex.quote(str(path))
        upgrade = f"cp {name} {name}.before && mlflow db upgrade {shlex.quote(database_uri(path))}"
        raise SchemaVersionError(
            f"the registry was written by an older MLflow (schema {found}, this one reads {newest})",
            where=path,
            cure=upgrade,
        )
    raise SchemaVersionError(
        f"the registry was written by a newer MLflow (schema {found}, this one reads {newest})",
        where=path,
        cure="pip install --upgrade mlflow",
    )


@lru_cache(maxsize=1)
def _schemas() -> tuple[frozenset[str], str]:
    """The schemas that this version of MLflow can upgrade, and the one that it reads."""
    from alembic.script import ScriptDirectory
    from mlflow.store.db import utils

    configuration: Any = cast(Any, utils)._get_alembic_config(db_url="")
    scripts = ScriptDirectory.from_config(configuration)
    return frozenset(script.revision for script in scripts.walk_revisions()), scripts.get_heads()[0]


def _adopt(path: Path, warehouse_root: Path) -> None:
    """Replace the former place of the registry's files by where they are now, after database and warehouse were moved.

    Warehouses in one folder share its database: what lies in the same folder as the database was not moved.
    """
    with closing(sqlite3.connect(path, timeout=60)) as database, database:
        select = "select artifact_location from experiments where name = ? and lifecycle_stage = 'active'"
        for (former,) in database.execute(select, [EXPERIMENT]).fetchall():
            local = local_folder(former or "")
            if local is None or _is_same(local.parents[2], path.parent):
                continue
            root = path.parent / local.parents[1].name
            now = artifact_root(root if root.is_dir() else warehouse_root)
            for table, columns in _PLACES.items():
                for column in columns:
                    database.execute(
                        f"update {table} set {column} = ? || substr({column}, ?) "
                        f"where {column} = ? or substr({column}, 1, ?) = ?",
                        [now, len(former) + 1, former, len(former) + 1, f"{former}/"],
                    )


def local_folder(address: str) -> Path | None:
    """The local folder of an address of files; None for one on a server or in an object store."""
    if address.startswith("file://"):
        return Path(unquote(address.removeprefix("file://")))
    return None if "://" in address or not address.startswith("/") else Path(address)


def _is_same(folder: Path, other: Path) -> bool:
    return folder == other or (folder.exists() and folder.samefile(other))


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
        if path.exists() and path.stat().st_size:
            return
        try:
            if _empty:
                staging.write_bytes(_empty[0])
            else:
                uri = database_uri(staging)
                with _without_fsync(staging):
                    MlflowClient(uri, uri).search_experiments(max_results=1)
                with closing(sqlite3.connect(staging)) as database:
                    # Kept in the file: half the fsyncs of each registration, and the MLflow pages do not block it.
                    database.execute("pragma journal_mode = wal")
                _empty.append(staging.read_bytes())
            with staging.open("rb") as file:
                os.fsync(file.fileno())
            with suppress(FileExistsError):
                if path.exists() and not path.stat().st_size:
                    path.unlink()  # an empty file holds nothing that could be lost
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
