"""A snapshot of the warehouse that all sessions share, renewed when stages have finished or lists have changed."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock, Thread
from time import monotonic

import duckdb

import warehouse
from ato.errors import AtoError
from warehouse.catalog.catalog import renew_lists
from warehouse.storage.staging import Entry
from warehouse.tables.lists import LIST_CHANGES

FRESH_SECONDS = 30
"""Interval between listings of manifests and marts while pages are in use."""


HELD = ("collections", "operators", "saes", "stage_runs")
"""Tables of few rows in many files, which most statements read: the snapshot holds them in memory."""
_LISTS = re.compile(rf"\b({LIST_CHANGES}|lists|list_members|notes)\b")


@dataclass(frozen=True)
class Snapshot:
    """The warehouse at one moment."""

    connection: duckdb.DuckDBPyConnection
    taken_at: datetime
    files: dict[str, Entry]
    """Manifests of all stages and files of marts; the snapshot is current while they are unchanged."""
    changes: dict[str, Entry]
    """Changes of lists, which the connection is told of without being made anew."""
    lists_at: datetime
    """When it was told last."""

    def as_of(self, sql: str) -> datetime:
        """The moment of which a statement tells: a change of lists outdates the answers about lists alone."""
        return self.lists_at if _LISTS.search(sql) else self.taken_at


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
                elif files == self._snapshot.files:
                    self._renew_lists()
                else:
                    self._renewing = Thread(target=self._renew, args=(files,), daemon=True)
                    self._renewing.start()
                self._looked = monotonic()
            return self._snapshot

    def renew_lists(self) -> None:
        """Take over the changes of lists that were written a moment ago."""
        with self._lock:
            self._renew_lists()

    def _renew_lists(self) -> None:
        store = warehouse.Warehouse(self._root)
        changes = store.storage.entries(LIST_CHANGES)
        if changes == self._snapshot.changes:
            return
        if store.storage.is_local:
            renew_lists(self._snapshot.connection, store)
            self._snapshot = replace(self._snapshot, changes=changes, lists_at=datetime.now(UTC))
        else:
            self._snapshot = self._taken(self._snapshot.files)

    def _renew(self, files: dict[str, Entry]) -> None:
        try:
            self._snapshot = self._taken(files)
        except AtoError:
            self._looked = float("-inf")  # the next visit gets the error

    def _taken(self, files: dict[str, Entry]) -> Snapshot:
        changes = warehouse.Warehouse(self._root).storage.entries(LIST_CHANGES)
        connection = warehouse.connect(self._root, must_exist=False)
        for table in HELD:
            _hold(connection, table)
        now = datetime.now(UTC)
        return Snapshot(connection, now, files, changes, now)

    def _files(self) -> dict[str, Entry]:
        storage = warehouse.Warehouse(self._root).storage
        return storage.entries("stage_runs") | storage.entries("marts")


def _hold(connection: duckdb.DuckDBPyConnection, table: str) -> None:
    """Put the rows of a table in the place of the view of its files, unless they are damaged: statements then say so."""
    cursor = connection.cursor()
    try:
        cursor.execute(f"create table held as from {table}")
    except duckdb.Error:
        return
    cursor.execute(f"begin; drop view {table}; alter table held rename to {table}; commit")
