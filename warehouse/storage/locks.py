"""Named locks of a warehouse, released when their holder dies."""

import fcntl
import json
import os
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from errno import ENOLCK, ENOSYS, ENOTSUP
from pathlib import Path

from warehouse.storage.object_storage import ObjectStorage
from warehouse.storage.staging import disk_full_reported
from warehouse.storage.warehouse import Warehouse

FOLDER = "locks"
EXPIRY_SECONDS = 60.0
"""Age (seconds) from which an unchanged lock object is stale; its holder updates it four times as often."""
POLL_SECONDS = 0.5


@dataclass(frozen=True)
class Holder:
    """Who holds a lock."""

    pid: int
    host: str
    since: str
    """UTC, ISO 8601."""

    def __str__(self) -> str:
        return f"process {self.pid} on {self.host}, since {self.since} UTC"


OnWait = Callable[[Holder | None], None]
"""Called once with the holder waited for (None: unknown)."""


@contextmanager
def held(warehouse: Warehouse, name: str, on_wait: OnWait = lambda holder: None) -> Iterator[None]:
    """Hold a lock while the block runs, after waiting for any other holder, on this machine or another.

    In a local warehouse it is a file lock of the kernel, released with the process. In an object store it is an object
    that its holder keeps updating; if it is unchanged for a minute, a waiter takes over. A holder that was only
    suspended continues too, which is harmless: both write the same bytes under the same names.

    Args:
        name: letters, digits, dots and dashes.
        on_wait: called once if the lock is held, before waiting.

    Raises:
        DiskFullError: no space for the lock's file.
    """
    storage = warehouse.storage
    if isinstance(storage, ObjectStorage):
        with _held_object(storage, f"{FOLDER}/{name}", on_wait):
            yield
    else:
        with _held_file(Path(storage.url(f"{FOLDER}/{name}.json")), on_wait):
            yield


def holders(warehouse: Warehouse, *, remove_stale: bool = False) -> dict[str, Holder | None]:
    """The locks held now, by name; can remove stale locks on the way."""
    storage = warehouse.storage
    found: dict[str, Holder | None] = {}
    if isinstance(storage, ObjectStorage):
        recent = time.time() - 10 * EXPIRY_SECONDS  # clocks of machines differ
        for path, entry in storage.entries(FOLDER).items():
            if entry.modified > recent:
                found[path.split("/")[1]] = _parse(storage.read(path) or b"")
            elif remove_stale:
                storage.remove(path)
        return found
    for file in Path(storage.url(FOLDER)).glob("*.json"):
        try:
            descriptor = os.open(file, os.O_RDONLY)
        except FileNotFoundError:
            continue
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if remove_stale:
                file.unlink(missing_ok=True)
        except BlockingIOError:
            found[file.stem] = _parse(_text(file))
        finally:
            os.close(descriptor)
    return found


def _me() -> Holder:
    return Holder(os.getpid(), socket.gethostname(), datetime.now(UTC).strftime("%Y-%m-%d %H:%M:%S"))


def _parse(text: bytes) -> Holder | None:
    try:
        found = json.loads(text)
        return Holder(found["pid"], found["host"], found["since"])
    except (ValueError, KeyError, TypeError):
        return None


def _text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:  # freed just now
        return b""


@contextmanager
def _held_file(path: Path, on_wait: OnWait) -> Iterator[None]:
    with disk_full_reported(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = _locked(path, on_wait)
    try:
        with disk_full_reported(path):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, json.dumps(asdict(_me())).encode())
        yield
    finally:
        path.unlink(missing_ok=True)  # before the lock goes: nobody else's file is removed
        os.close(descriptor)


def _locked(path: Path, on_wait: OnWait) -> int:
    """A descriptor of the file of that name, locked."""
    told = False
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not told:
                    on_wait(_parse(_text(path)))
                told = True
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            except OSError as error:
                if error.errno not in (ENOLCK, ENOSYS, ENOTSUP):
                    raise
                return descriptor  # a file system without locks: runs of one key at once then do the work twice
            if _is_named(descriptor, path):
                return descriptor
        except BaseException:
            os.close(descriptor)
            raise
        os.close(descriptor)  # its last holder took the file away: whoever comes now locks another one


def _is_named(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextmanager
def _held_object(storage: ObjectStorage, folder: str, on_wait: OnWait) -> Iterator[None]:
    """Lock objects are numbered: a takeover creates the next number, which only one waiter can."""
    path = _created(storage, folder, on_wait)
    done = threading.Event()

    def stay() -> None:
        beat = 0
        while not done.wait(EXPIRY_SECONDS / 4):
            beat += 1
            storage.put(path, _body(beat))

    beating = threading.Thread(target=stay, name="lock", daemon=True)
    beating.start()
    try:
        yield
    finally:
        done.set()
        beating.join()
        for name in storage.names(folder):  # ascending: its own is the last to go
            if name <= path:
                storage.remove(name)


def _created(storage: ObjectStorage, folder: str, on_wait: OnWait) -> str:
    seen: tuple[str, bytes | None] | None = None
    since, told = 0.0, False
    while True:
        names = storage.names(folder)
        now = (names[-1], storage.read(names[-1])) if names else None
        if now != seen:
            seen, since = now, time.monotonic()
        if now is None or time.monotonic() - since > EXPIRY_SECONDS:
            number = int(names[-1].split("/")[-1].removesuffix(".json")) + 1 if names else 1
            path = f"{folder}/{number:06d}.json"
            if storage.create(path, _body(0)):
                return path
        elif not told:
            on_wait(_parse(now[1] or b""))
            told = True
        time.sleep(POLL_SECONDS)


def _body(beat: int) -> bytes:
    return json.dumps({**asdict(_me()), "beat": beat}).encode()
