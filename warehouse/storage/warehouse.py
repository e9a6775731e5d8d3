"""The warehouse: writes declared tables and artifacts atomically."""

import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from ato.errors import InputError, SchemaVersionError
from warehouse.storage.backends import open_storage
from warehouse.storage.parquet import Rows, to_table, write_parquet
from warehouse.storage.staging import HashedParts, staging_name
from warehouse.tables import SCHEMA_VERSION, TABLES, Table

MARKER = "warehouse.json"
VARIABLE, DEFAULT = "ATO_WAREHOUSE", "data/warehouse"
"""Environment variable with the root, and the root where it is not set."""
_SAFE = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]*")


@dataclass(frozen=True)
class FileRecord:
    """One published file, as listed in its stage's manifest."""

    path: str
    """Relative to the warehouse's root, with forward slashes."""
    table_name: str
    """Its table; ``artifacts`` for any other file."""
    rows: int
    bytes: int
    sha256: str


def declared(table: str) -> Table:
    """The declaration of a table.

    Raises:
        InputError: there is no such table.
    """
    if table not in TABLES:
        raise InputError(f"no table {table!r}", cure=f"choose from {', '.join(sorted(TABLES))}")
    return TABLES[table]


class Warehouse:
    """A warehouse at a root: a local folder, or any fsspec URL such as ``s3://bucket/prefix``.

    Args:
        root: default the environment variable ``ATO_WAREHOUSE``, else ``./data/warehouse``. Nothing is created
            before the first write.
        only: a collection, if nothing else is read: damaged manifests of other collections are then no error.
        any_schema: True if nothing but lists and notes is read, whichever version wrote the other tables.

    Raises:
        InputError: the root is empty, a file, a link to nothing, or cannot be read.
        SchemaVersionError: it was written with other table declarations.
    """

    def __init__(
        self, root: "str | Path | Warehouse | None" = None, *, only: str | None = None, any_schema: bool = False
    ):
        self.only = only
        if isinstance(root, Warehouse):
            root = root.root
        if root is None:
            root = os.environ.get(VARIABLE, DEFAULT)
        if not str(root).strip():
            raise InputError(
                "the warehouse has no name",
                where=f"{VARIABLE} is empty",
                cure=f"unset {VARIABLE}, or name a folder in it",
            )
        self.storage = open_storage(root)
        self._downloads: tempfile.TemporaryDirectory[str] | None = None
        self._marked = any_schema or self._check_version()

    def __repr__(self) -> str:
        return f"Warehouse({self.root!r})"

    @property
    def root(self) -> str:
        """Absolute folder or URL."""
        return self.storage.root

    def _check_version(self) -> bool:
        marker = self.storage.read(MARKER)
        if marker is None:
            return False
        try:
            found = json.loads(marker)["schema_version"]
        except (ValueError, KeyError, TypeError):
            found = "unreadable"
        if found != SCHEMA_VERSION:
            raise SchemaVersionError(
                f"written with schema {found}, this version reads {SCHEMA_VERSION}",
                where=self.storage.url(MARKER),
                cure="point ATO_WAREHOUSE at another folder, or read it with the version that wrote it",
            )
        return True

    def check_exists(self) -> None:
        """Raise InputError if nothing was ever written here."""
        if not self._marked and not self._check_version():
            raise InputError(
                "there is no warehouse",
                where=self.root,
                cure=f"start with `ato run pipeline --profile demo`, or point {VARIABLE} at one",
            )

    def create(self) -> "Warehouse":
        """Make it exist with all of its tables, each empty until something is written; returns itself."""
        self._mark()
        return self

    def _mark(self) -> None:
        if not self._marked:
            self.storage.put(MARKER, json.dumps({"schema_version": SCHEMA_VERSION}).encode() + b"\n")
            self._marked = True

    def write_rows(self, table: str, rows: Rows, part: str, /, **partition: str | int) -> FileRecord:
        """Publish rows as ``table/key=value/.../part-<part>.parquet``; the same rows give the same bytes.

        Args:
            rows: an Arrow table, a mapping of columns (lists, arrays, tensors) or a list of rows; every declared
                column must be there, None is NULL. Columns of the partition may be left out.
            part: name of the part within its folder; it must differ between stage runs that share the folder,
                so let it hold the stage's key.
            partition: a value for each partition column of the table.

        Raises:
            InputError: no such table, or a partition value that cannot be a folder's name.
            DataError: rows do not match the declaration.
            NonFiniteError: a NaN or infinity, named by table, column and the row's key.
            DiskFullError: no space left; nothing is left behind.
        """
        declaration = declared(table)
        data = to_table(declaration, rows, partition)
        path = _part(declaration, part, partition)
        self._mark()
        size, digest = self.storage.publish(path, lambda p: write_parquet(declaration, data, p), need=data.nbytes)
        return FileRecord(path, table, data.num_rows, size, digest)

    def stage_encoded(
        self, table: str, parts: Sequence[Any], rows: int, part: str, /, **partition: str | int
    ) -> Callable[[], FileRecord]:
        """Write an already encoded file of a table, given in parts, beside its place; otherwise as ``write_rows``.

        What is returned waits for the disk and publishes the file, without the parts.
        """
        path = _part(declared(table), part, partition)
        self._mark()
        file = HashedParts(parts)
        need = sum(memoryview(one).nbytes for one in parts)
        finish = self.storage.stage(path, file.write, need=need, digest=file.digest)
        return lambda: FileRecord(path, table, rows, *finish())

    def artifact_path(self, *parts: str) -> Path:
        """Local path of a file or folder under ``artifacts/`` (existing or not).

        An object of an object store is downloaded once, into a temporary folder.
        """
        path = _artifact(parts)
        if self.storage.is_local:
            return Path(self.storage.url(path))
        self._downloads = self._downloads or tempfile.TemporaryDirectory(prefix=staging_name("ato-"))
        local = Path(self._downloads.name, path)
        for name in self.storage.names(path) or [path]:
            target = Path(self._downloads.name, name)
            if not target.exists() and (data := self.storage.read(name)) is not None:
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
        return local

    def publish_artifact(self, write: Callable[[Path], object], *parts: str) -> FileRecord:
        """Publish one file under ``artifacts/``; ``write`` is called with the staging path to write to.

        Raises:
            DiskFullError: no space left; nothing is left behind.
        """
        self._mark()
        path = _artifact(parts)
        return FileRecord(path, "artifacts", 0, *self.storage.publish(path, write))

    def publish_artifact_folder(self, write: Callable[[Path], object], *parts: str) -> list[FileRecord]:
        """Publish a folder of files under ``artifacts/``; ``write`` is called with an empty folder to fill.

        Each file appears atomically; the folder is complete when its stage's manifest is written.
        """
        self._mark()
        path = _artifact(parts)
        with self.storage.scratch(path) as folder:
            write(folder)
            files = sorted(p.relative_to(folder) for p in folder.rglob("*") if p.is_file())
            return [
                FileRecord(name, "artifacts", 0, *self.storage.publish(name, partial(os.replace, folder / file)))
                for file in files
                for name in [f"{path}/{file.as_posix()}"]
            ]

    def damage(self, files: Iterable[FileRecord]) -> dict[str, str]:
        """Path -> problem, for files that are missing or not of their recorded size."""
        listed = list(files)
        found = self.storage.sizes(f.path for f in listed)
        problems = {}
        for file in listed:
            if file.path not in found:
                problems[file.path] = f"missing, {file.bytes} bytes expected"
            elif found[file.path] != file.bytes:
                problems[file.path] = f"{found[file.path]} bytes found, {file.bytes} expected"
        return problems

    def sha256(self, path: str) -> str | None:
        """SHA-256 of the content of a file, in hexadecimal; None if there is none. Reads all of it."""
        try:
            source = self.storage.open(path)
            with open(source, "rb") if isinstance(source, str) else source as file:
                return hashlib.file_digest(file, "sha256").hexdigest()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def problem(self, file: FileRecord) -> str | None:
        """Problem of one file (missing, wrong size); None if there is none."""
        return self.damage([file]).get(file.path)


def _part(table: Table, part: str, partition: Mapping[str, str | int]) -> str:
    folders = [f"{name}={_safe(partition[name])}" for name in table.partition]
    return "/".join([table.name, *folders, f"part-{_safe(part)}.parquet"])


def _artifact(parts: Sequence[str]) -> str:
    return "/".join(["artifacts", *map(_safe, parts)])


def _safe(name: str | int) -> str:
    """A name as one path segment; refuses anything that could leave the root or break the hive path."""
    text = str(name)
    if not _SAFE.fullmatch(text):
        raise InputError(f"{text!r} cannot name a file in the warehouse", cure="use letters, digits and . - _ +")
    return text
