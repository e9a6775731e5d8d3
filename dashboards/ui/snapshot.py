"""A snapshot of the warehouse that all sessions share, renewed when stages have finished."""

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, Thread
from time import monotonic

import duckdb

import warehouse
from ato.errors import AtoError
from warehouse.storage.staging import Entry

FRESH_SECONDS = 30
"""Interval between listings of manifests and marts while pages are in use."""


@dataclass(frozen=True)
class Snapshot:
    """The warehouse at one moment."""

    connection: duckdb.DuckDBPyConnection
    taken_at: datetime
    files: dict[str, Entry]
    """Manifests of all stages and files of marts; the snapshot is current while they are unchanged."""


class Live:
    """Provides the latest snapshot. A visit after a pause waits for a new one; otherwise it is renewed in the background."""

    def __init__(self, root: str | None):
        """Open the warehouse; ``root`` as in ``warehouse.connect``."""
        self._root = root
        self._lock = Lock()
        self._renewing: Thread | None = None
        self._snapshot = self._taken(self._files())
        self._looked = monotonic()

    def current(self) -> Snapshot:
        """The snapshot, at most a few ``FRESH_SECONDS`` old."""
        with self._lock:
            pause = monotonic() - self._looked
            if pause > FRESH_SECONDS and (self._renewing is None or not self._renewing.is_alive()):
                files = self._files()
                if files != self._snapshot.files and pause > 2 * FRESH_SECONDS:
                    self._snapshot = self._taken(files)
                elif files != self._snapshot.files:
                    self._renewing = Thread(target=self._renew, args=(files,), daemon=True)
                    self._renewing.start()
                self._looked = monotonic()
            return self._snapshot

    def _renew(self, files: dict[str, Entry]) -> None:
        try:
            self._snapshot = self._taken(files)
        except AtoError:
            self._looked = float("-inf")  # the next visit gets the error

    def _taken(self, files: dict[str, Entry]) -> Snapshot:
        return Snapshot(warehouse.connect(self._root, must_exist=False), datetime.now(UTC), files)

    def _files(self) -> dict[str, Entry]:
        storage = warehouse.Warehouse(self._root).storage
        return storage.entries("stage_runs") | storage.entries("marts")
