"""Files on their way: staging names, hashes, full disks, and what dead processes leave behind."""

import hashlib
import os
import re
import shutil
import socket
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from errno import EACCES, EDQUOT, ENOSPC, EPERM, EROFS
from pathlib import Path
from typing import Any

from ato.errors import DiskFullError, UnavailableError

STAGING = ".staging-"
_HOST = hashlib.sha256(socket.gethostname().encode()).hexdigest()[:8]
_PIECE = 1 << 20
"""Bytes hashed and written at a time, while still in the cache."""
_STAGING_NAME = re.compile(rf"{re.escape(STAGING)}(?P<pid>\d+)-(?P<host>[0-9a-f]{{8}})-")
FOREIGN_SECONDS = 3600
"""Age from which another machine's staging file counts as a leftover, since its process cannot be checked."""
Write = Callable[[Path], object]
"""Writes a file to a path."""
Finish = Callable[[], tuple[int, str]]
"""Publishes a staged file; returns bytes and SHA-256."""
Digest = Callable[[Path], str]
"""SHA-256 of a written file, in hex."""


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
def disk_full_reported(
    path: object, need: int | None = None, elsewhere: str = "point ATO_WAREHOUSE at a folder"
) -> Iterator[None]:
    """Turn a full disk or an exceeded quota, from Python or a native writer, into DiskFullError; likewise a refusal.

    Args:
        path: what is written.
        need: its bytes, if they are known.
        elsewhere: how the user chooses another place; begins the cure.
    """
    try:
        yield
    except Exception as error:
        if getattr(error, "errno", None) in (EACCES, EPERM, EROFS):
            raise UnavailableError(
                f"cannot be written: {os.strerror(error.errno)}",  # type: ignore[attr-defined]
                where=path,
                cure=f"{elsewhere} of your own",
            ) from error
        full = getattr(error, "errno", None) in (ENOSPC, EDQUOT)
        # Native writers (safetensors, Arrow) raise their own exceptions, which carry only the system's text.
        if not full and not re.search(r"No space left on device|Disk quota exceeded|os error 28\b", str(error)):
            raise
        size = "the file" if need is None else f"{need:,} bytes"
        raise DiskFullError(
            f"no space left to write {size}",
            where=path,
            cure=f"free some space or {elsewhere} on a larger disk, then run the same command again",
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


class StagedPublishing:
    """Publishing in one step or in two, of a storage that can do it in two."""

    def stage(self, path: str, write: Write, need: int | None = None, digest: Digest = file_sha256) -> Finish:
        """The part of ``publish`` that takes the processor; what is returned waits for the storage, then publishes."""
        raise NotImplementedError

    def publish(
        self, path: str, write: Write, need: int | None = None, digest: Digest = file_sha256
    ) -> tuple[int, str]:
        """Publish what ``write`` writes to the staging path it is given; returns bytes and SHA-256.

        Readers see the whole file or none, also after a crash. If two processes publish the same name, the last one wins.

        Raises:
            DiskFullError: no space left for about ``need`` bytes; the staging file is removed.
        """
        return self.stage(path, write, need, digest)()


def remove_leftover(path: str) -> None:
    """Remove a staging file or folder that ``leftovers`` named."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        Path(path).unlink(missing_ok=True)


def left_behind(folder: Path, names: Iterable[str]) -> dict[str, int]:
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
