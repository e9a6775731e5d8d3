"""A snapshot of the warehouse that all sessions share, renewed when stages have finished."""

from dataclasses import dataclass
from datetime import UTC, datetime
from threading import Lock, Thread
from time import monotonic

import duckdb

import warehouse
from ato.errors import AtoError
from warehouse.storage.backends import Entry

FRESH_SECONDS = 30
"""Interval between listings of the manifests while pages are in use."""


@dataclass(frozen=True)
class Snapshot:
    """The warehouse at one moment."""

    connection: duckdb.DuckDBPyConnection
    taken_at: datetime
    manifests: dict[str, Entry]
    """Manifests of all stages; the snapshot is current while they are unchanged."""


class Live:
    """Provides the latest snapshot. A visit after a pause waits for a new one; otherwise it is renewed in the background."""

    def __init__(self, root: str | None, memory: str | None):
        """Open the warehouse.

        Args:
            root: as in ``warehouse.connect``.
            memory: as in ``warehouse.connect``.
        """
        self._root, self._memory = root, memory
        self._lock = Lock()
        self._renewing: Thread | None = None
        self._snapshot = self._taken(self._manifests())
        self._looked = monotonic()

    def current(self) -> Snapshot:
        """The snapshot, at most a few ``FRESH_SECONDS`` old."""
        with self._lock:
            pause = monotonic() - self._looked
            if pause > FRESH_SECONDS and (self._renewing is None or not self._renewing.is_alive()):
                manifests = self._manifests()
                if manifests != self._snapshot.manifests and pause > 2 * FRESH_SECONDS:
                    self._snapshot = self._taken(manifests)
                elif manifests != self._snapshot.manifests:
                    self._renewing = Thread(target=self._renew, args=(manifests,), daemon=True)
                    self._renewing.start()
                self._looked = monotonic()
            return self._snapshot

    def _renew(self, manifests: dict[str, Entry]) -> None:
        try:
            self._snapshot = self._taken(manifests)
        except AtoError:
            self._looked = float("-inf")  # the next visit gets the error

    def _taken(self, manifests: dict[str, Entry]) -> Snapshot:
        return Snapshot(warehouse.connect(self._root, memory=self._memory), datetime.now(UTC), manifests)

    def _manifests(self) -> dict[str, Entry]:
        return warehouse.Warehouse(self._root).storage.entries("stage_runs")
