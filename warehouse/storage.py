"""Where the warehouse's bytes live: a local folder or an object store, each file published whole or not at all."""

import hashlib
import os
import re
import shutil
import socket
import tempfile
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any

from ato.errors import DiskFullError, InputError

STAGING = ".staging-"
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_STAGING_NAME = re.compile(rf"{re.escape(STAGING)}(?P<pid>\d+)-(?P<host>[0-9a-f]{{8}})-")


def staging_name(name: str) -> str:
    """A name beside ``name`` that no view reads and that tells which process of which machine left it behind."""
    return f"{STAGING}{os.getpid()}-{_HOST}-{uuid.uuid4().hex[:8]}-{name}"


@contextmanager
def disk_full_reported(path: object, need: int | None = None) -> Iterator[None]:
    """Turn a full disk or a spent quota, from Python or from a native writer, into DiskFullError."""
    try:
        yield
    except Exception as error:
        full = getattr(error, "errno", None) in (ENOSPC, EDQUOT)
        # Native writers (safetensors, Arrow) raise their own exceptions, which carry only the system's text.
        if not full and not re.search(r"No space left on device|Disk quota exceeded|os error 28\b", str(error)):
            raise
        size = "the file" if need is None else f"{need:,} bytes"
        raise DiskFullError(
            f"no space left to write {size}",
            where=path,
            cure="free some space or point ATO_WAREHOUSE at a larger disk, then run the same command again",
        ) from error


def sync(path: Path) -> None:
    """Flush a file or a folder's entries to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_sha256(path: Path) -> str:
    """SHA-256 of a local file, in hex."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LocalStorage:
    """Files below a local folder; paths are relative to it, with forward slashes."""

    is_local = True

    def __init__(self, root: str | Path):
        self.root = str(Path(root).expanduser().absolute())

    def url(self, path: str) -> str:
        """The name under which DuckDB and Arrow open a file."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """A file, for reading by Arrow."""
        return self.url(path)

    def read(self, path: str) -> bytes | None:
        """The whole file; None if there is none."""
        try:
            return Path(self.url(path)).read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            return None

    def put(self, path: str, data: bytes) -> None:
        """Publish bytes under a name; errors as in ``publish``."""
        self.publish(path, lambda staging: staging.write_bytes(data))

    def publish(self, path: str, write: Callable[[Path], object], need: int | None = None) -> tuple[int, str]:
        """Publish what ``write`` writes to the staging path it is given; returns bytes and SHA-256.

        The staging file lies beside the target, is flushed to the disk and then renamed: a reader meets the whole
        file or none, also after a crash. Two processes may publish the same name; the last one stays.

        Raises:
            DiskFullError: no space left for about ``need`` bytes; the staging file is removed.
        """
        target = Path(self.url(path))
        staging = target.with_name(staging_name(target.name))
        with disk_full_reported(target, need):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write(staging)
                size, digest = staging.stat().st_size, file_sha256(staging)
                sync(staging)
                os.replace(staging, target)
            except BaseException:
                staging.unlink(missing_ok=True)
                raise
            sync(target.parent)
        return size, digest

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty folder on the disk of ``path``, for files that are then published; removed at the end."""
        target = Path(self.url(path))
        folder = target.with_name(staging_name(target.name))
        with disk_full_reported(target):
            try:
                folder.mkdir(parents=True)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each file; files that are not there are left out."""
        found = {}
        for path in paths:
            try:
                found[path] = os.stat(self.url(path)).st_size
            except (FileNotFoundError, NotADirectoryError):
                continue
        return found

    def names(self, folder: str) -> list[str]:
        """Paths of all published files below a folder, sorted."""
        base = Path(self.url(folder))
        found = (p for p in base.rglob("*") if not p.name.startswith(STAGING) and p.is_file())
        return sorted(f"{folder}/{p.relative_to(base).as_posix()}" for p in found)

    def clean_staging(self) -> int:
        """Remove staging files and folders that dead processes of this machine left; returns how many."""
        removed = 0
        for folder, folders, files in os.walk(self.root, topdown=False):
            for name in files + folders:
                match = _STAGING_NAME.match(name)
                if match is None or match["host"] != _HOST or _is_running(int(match["pid"])):
                    continue
                path = Path(folder, name)
                if path.is_dir():
                    shutil.rmtree(path, ignore_errors=True)
                else:
                    path.unlink(missing_ok=True)
                removed += 1
        return removed


class ObjectStorage:
    """Objects below a prefix of an fsspec filesystem (``s3://bucket/prefix``): one PUT publishes an object whole."""

    is_local = False

    def __init__(self, root: str):
        import fsspec

        try:
            self.filesystem, prefix = fsspec.core.url_to_fs(root)
        except (ImportError, ValueError) as error:
            raise InputError(f"cannot open the warehouse: {error}", where=root, cure="pip install s3fs") from error
        self._prefix = prefix.rstrip("/")
        self.root = self.filesystem.unstrip_protocol(self._prefix)

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def url(self, path: str) -> str:
        """The name under which DuckDB and Arrow open a file."""
        return f"{self.root}/{path}"

    def open(self, path: str) -> Any:
        """A file, for reading by Arrow."""
        return self.filesystem.open(self._key(path), "rb")

    def read(self, path: str) -> bytes | None:
        """The whole object; None if there is none."""
        try:
            return self.filesystem.cat_file(self._key(path))
        except FileNotFoundError:
            return None

    def put(self, path: str, data: bytes) -> None:
        """Publish bytes under a name with one PUT."""
        self.filesystem.pipe_file(self._key(path), data)

    def publish(self, path: str, write: Callable[[Path], object], need: int | None = None) -> tuple[int, str]:
        """Publish what ``write`` writes to the temporary file it is given, with one PUT; returns bytes and SHA-256."""
        with self.scratch(path) as folder, disk_full_reported(folder, need):
            staging = folder / path.split("/")[-1]
            write(staging)
            self.put(path, staging.read_bytes())
            return staging.stat().st_size, file_sha256(staging)

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty local folder, for files that are then published; removed at the end."""
        with tempfile.TemporaryDirectory(prefix="ato-") as folder:
            yield Path(folder)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each object; objects that are not there are left out."""
        wanted = set(paths)
        found = self._sizes_below({path.split("/")[0] for path in wanted})
        return {path: found[path] for path in wanted & found.keys()}

    def _sizes_below(self, folders: Iterable[str]) -> dict[str, int]:
        found = {}
        for folder in folders:
            # One listing a table instead of one request a file.
            for key, entry in self.filesystem.find(self._key(folder), detail=True).items():
                found[key.removeprefix(self._prefix).lstrip("/")] = entry["size"]
        return found

    def names(self, folder: str) -> list[str]:
        """Paths of all objects below a folder, sorted."""
        return sorted(self._sizes_below([folder]))

    def clean_staging(self) -> int:
        """Nothing to do: a PUT leaves no staging object."""
        return 0


Storage = LocalStorage | ObjectStorage


def open_storage(root: str | Path) -> Storage:
    """The storage of a root: a URL with a scheme is an object store, all else a local folder."""
    text = str(root)
    if text.startswith("file://"):
        return LocalStorage(text.removeprefix("file://"))
    return ObjectStorage(text) if "://" in text else LocalStorage(root)


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
