"""Storage backends: a local folder or an object store; files are published atomically."""

import hashlib
import os
import re
import shutil
import socket
import tempfile
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC
from pathlib import Path
from typing import Any
from weakref import finalize

from ato.errors import DiskFullError, InputError

STAGING = ".staging-"
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_PIECE = 1 << 20
"""Bytes hashed and written at a time, while still in the cache."""
_STAGING_NAME = re.compile(rf"{re.escape(STAGING)}(?P<pid>\d+)-(?P<host>[0-9a-f]{{8}})-")
FOREIGN_SECONDS = 3600
"""Age from which another machine's staging file counts as a leftover, since its process cannot be checked."""
Finish = Callable[[], tuple[int, str]]
"""Publishes a staged file; returns bytes and SHA-256."""


@dataclass(frozen=True)
class Entry:
    """One file or object, published or not."""

    bytes: int
    """Size; divided by the number of hard links."""
    modified: float
    """Seconds since 1970."""


def staging_name(name: str) -> str:
    """A hidden staging name beside ``name`` that identifies its process and machine."""
    return f"{STAGING}{os.getpid()}-{_HOST}-{uuid.uuid4().hex[:8]}-{name}"


@contextmanager
def disk_full_reported(path: object, need: int | None = None) -> Iterator[None]:
    """Turn a full disk or an exceeded quota, from Python or a native writer, into DiskFullError."""
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


class HashedParts:
    """Writes a file in parts, once, and hashes them on the way, so its SHA-256 needs no second read."""

    def __init__(self, parts: Iterable[Any]):
        self._parts = parts
        self._sha256 = hashlib.sha256()

    def write(self, path: Path) -> None:
        """Write all parts, each a contiguous buffer, to a local file."""
        with open(path, "wb") as file:
            for part in self._parts:
                view = memoryview(part).cast("B")
                for start in range(0, len(view), _PIECE):
                    piece = view[start : start + _PIECE]
                    self._sha256.update(piece)
                    file.write(piece)
        self._parts = ()  # their memory may be wanted before the file is published

    def digest(self, path: Path) -> str:
        """SHA-256 of what was written, in hex."""
        return self._sha256.hexdigest()


class LocalStorage:
    """Files below a local folder; paths are relative to it, with forward slashes."""

    is_local = True

    def __init__(self, root: str | Path):
        self.root = str(Path(root).expanduser().absolute())

    def url(self, path: str) -> str:
        """Address of a file for DuckDB and Arrow."""
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

    def publish(
        self,
        path: str,
        write: Callable[[Path], object],
        need: int | None = None,
        digest: Callable[[Path], str] = file_sha256,
    ) -> tuple[int, str]:
        """Publish what ``write`` writes to the staging path it is given; returns bytes and SHA-256.

        The staging file is beside the target, flushed to disk and then renamed: readers see the whole file or none, also
        after a crash. If two processes publish the same name, the last one wins.

        Raises:
            DiskFullError: no space left for about ``need`` bytes; the staging file is removed.
        """
        return self.stage(path, write, need, digest)()

    def stage(
        self,
        path: str,
        write: Callable[[Path], object],
        need: int | None = None,
        digest: Callable[[Path], str] = file_sha256,
    ) -> Finish:
        """The part of ``publish`` that takes the processor; what is returned waits for the disk, then publishes the file."""
        target = Path(self.url(path))
        staging = target.with_name(staging_name(target.name))
        with disk_full_reported(target, need):
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                write(staging)
                size, sha256 = staging.stat().st_size, digest(staging)
            except BaseException:
                staging.unlink(missing_ok=True)
                raise

        def finish() -> tuple[int, str]:
            with disk_full_reported(target, need):
                try:
                    sync(staging)
                    os.replace(staging, target)
                except BaseException:
                    staging.unlink(missing_ok=True)
                    raise
                sync(target.parent)
            return size, sha256

        finalize(finish, staging.unlink, missing_ok=True)  # where nobody asks for it any more, as after an error
        return finish

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty temporary folder on the disk of ``path``, for files to publish."""
        target = Path(self.url(path))
        folder = target.with_name(staging_name(target.name))
        with disk_full_reported(target):
            try:
                folder.mkdir(parents=True)
                yield folder
            finally:
                shutil.rmtree(folder, ignore_errors=True)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each existing file."""
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

    def entries(self, below: str = "") -> dict[str, Entry]:
        """Every published file (below a folder) with its size and age."""
        base = Path(self.root)
        found = {}
        for folder, folders, files in os.walk(base / below):
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
            for path in (Path(folder, name) for name in files if not name.startswith(STAGING)):
                with suppress(FileNotFoundError):
                    status = path.stat()
                    found[path.relative_to(base).as_posix()] = Entry(
                        status.st_size // max(1, status.st_nlink), status.st_mtime
                    )
        return found

    def remove(self, path: str) -> None:
        """Remove a file, if it exists, and the folders that become empty below the table's."""
        Path(self.url(path)).unlink(missing_ok=True)
        steps = path.split("/")[:-1]
        with suppress(OSError):  # not empty
            while len(steps) > 2 or (len(steps) == 2 and steps[1].startswith("collection=")):
                os.rmdir(self.url("/".join(steps)))
                steps.pop()

    def leftovers(self) -> dict[str, int]:
        """Staging files and folders of dead processes, with their bytes."""
        beside = Path(self.root).parent  # where the registry's database is made
        found = _left_behind(beside, os.listdir(beside)) if beside.is_dir() else {}
        for folder, folders, files in os.walk(self.root):
            found |= _left_behind(Path(folder), folders + files)
            folders[:] = [name for name in folders if not name.startswith(STAGING)]
        return found


class ObjectStorage:
    """Objects below a prefix of an fsspec filesystem (``s3://bucket/prefix``): one PUT publishes an object whole."""

    is_local = False

    def __init__(self, root: str):
        import fsspec

        try:
            # Without a cache of listings: other processes write here too.
            self.filesystem, prefix = fsspec.core.url_to_fs(root, use_listings_cache=False)
        except (ImportError, ValueError) as error:
            raise InputError(f"cannot open the warehouse: {error}", where=root, cure="pip install s3fs") from error
        self._prefix = prefix.rstrip("/")
        self.root = self.filesystem.unstrip_protocol(self._prefix)

    def snapshot(self, folders: Iterable[str]) -> Any:
        """A filesystem with a cached listing of some folders.

        DuckDB asks for file sizes often; without the cache, each would be a request to the store.
        """
        options = self.filesystem.storage_options | {"use_listings_cache": True, "skip_instance_cache": True}
        found = type(self.filesystem)(**options)
        for folder in folders:
            found.find(self._key(folder))
        return found

    def _key(self, path: str) -> str:
        return f"{self._prefix}/{path}"

    def url(self, path: str) -> str:
        """Address of a file for DuckDB and Arrow."""
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

    def create(self, path: str, data: bytes) -> bool:
        """Publish bytes under a new name; False if it exists (decided by the store: If-None-Match)."""
        try:
            self.filesystem.pipe_file(self._key(path), data, mode="create")
        except FileExistsError:
            return False
        return True

    def publish(
        self,
        path: str,
        write: Callable[[Path], object],
        need: int | None = None,
        digest: Callable[[Path], str] = file_sha256,
    ) -> tuple[int, str]:
        """Publish what ``write`` writes to the temporary file it is given, whole; returns bytes and SHA-256."""
        return self.stage(path, write, need, digest)()

    def stage(
        self,
        path: str,
        write: Callable[[Path], object],
        need: int | None = None,
        digest: Callable[[Path], str] = file_sha256,
    ) -> Finish:
        """The part of ``publish`` that takes the processor; what is returned waits for the store."""
        with ExitStack() as undo:
            folder = undo.enter_context(self.scratch(path))
            undo.enter_context(disk_full_reported(folder, need))
            staging = folder / path.split("/")[-1]
            write(staging)
            size, sha256 = staging.stat().st_size, digest(staging)
            kept = undo.pop_all()

        def finish() -> tuple[int, str]:
            with kept:
                # One PUT, or for a large file parts that appear together: either way whole or not at all.
                self.filesystem.put_file(str(staging), self._key(path))
            return size, sha256

        return finish

    @contextmanager
    def scratch(self, path: str) -> Iterator[Path]:
        """An empty temporary local folder, for files to publish."""
        with tempfile.TemporaryDirectory(prefix=staging_name("ato-")) as folder:
            yield Path(folder)

    def sizes(self, paths: Iterable[str]) -> dict[str, int]:
        """Bytes of each existing object."""
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

    def entries(self, below: str = "") -> dict[str, Entry]:
        """Every object (below a folder) with its size and age."""
        found = {}
        for key, entry in self.filesystem.find(self._key(below).rstrip("/"), detail=True).items():
            modified = entry.get("LastModified") or entry.get("created") or entry.get("updated")
            age = modified.timestamp() if hasattr(modified, "timestamp") else time.time()
            found[key.removeprefix(self._prefix).lstrip("/")] = Entry(entry["size"], age)
        return found

    def remove(self, path: str) -> None:
        """Remove an object, if it exists."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(self._key(path))

    def leftovers(self) -> dict[str, int]:
        """Temporary folders of dead processes on this machine; a PUT leaves nothing in the store."""
        temporary = Path(tempfile.gettempdir())
        return _left_behind(temporary, os.listdir(temporary))


Storage = LocalStorage | ObjectStorage


def open_storage(root: str | Path) -> Storage:
    """The storage of a root: a URL with a scheme is an object store, all else a local folder."""
    text = str(root)
    if text.startswith("file://"):
        return LocalStorage(text.removeprefix("file://"))
    return ObjectStorage(text) if "://" in text else LocalStorage(root)


def remove_leftover(path: str) -> None:
    """Remove a staging file or folder that ``leftovers`` named."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


def _left_behind(folder: Path, names: Iterable[str]) -> dict[str, int]:
    """Absolute path -> bytes of leftovers: of dead processes here, or of other machines and over an hour old."""
    found = {}
    for name in names:
        match = _STAGING_NAME.match(name)
        if match is None:
            continue
        path = folder / name
        with suppress(FileNotFoundError):
            if match["host"] == _HOST:
                dead = not _is_running(int(match["pid"]))
            else:
                dead = time.time() - path.stat().st_mtime > FOREIGN_SECONDS
            if dead:
                inside = path.rglob("*") if path.is_dir() else [path]
                found[str(path)] = sum(file.stat().st_size for file in inside if file.is_file())
    return found


def _is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
