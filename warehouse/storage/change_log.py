"""The log of changes that people make: small files that no stage lists, appended one by one and never rewritten.

A file of ``list_changes/`` holds one change, whole: it appears at once, and its name says when it was made, its size and its
SHA-256. So a killed process loses at most the change that it was writing, a rebuild or ``ato gc`` has nothing to remove, and
changes of two processes are two files. Readers order changes by name.
"""

import hashlib
import re
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import pyarrow as pa

from ato.errors import UnavailableError
from warehouse.storage.locks import held
from warehouse.storage.parquet import to_table, write_parquet
from warehouse.storage.warehouse import FileRecord, Warehouse, declared
from warehouse.tables.lists import LIST_CHANGES

LOCK = "changes-of-lists"
"""Held while a change is decided and written; a name of two words as those of stages are."""
_TIME = "%Y%m%dT%H%M%S.%fZ"
_NAME = re.compile(
    rf"{LIST_CHANGES}/part-(?P<change>\d{{8}}T\d{{6}}\.\d{{6}}Z-[0-9a-f]{{8}})-(?P<rows>\d+)-(?P<bytes>\d+)-(?P<sha256>[0-9a-f]{{64}})\.parquet"
)


class Change(NamedTuple):
    """One change, as the name of its file says."""

    key: str
    file: FileRecord

    @property
    def made_at(self) -> datetime:
        """When it was made, in UTC."""
        return datetime.strptime(self.key.rsplit("-", 1)[0], _TIME).replace(tzinfo=UTC)


def changes(warehouse: Warehouse) -> list[Change]:
    """All changes, by time."""
    found = []
    for path in warehouse.storage.names(LIST_CHANGES):
        if name := _NAME.fullmatch(path):
            record = FileRecord(path, LIST_CHANGES, int(name["rows"]), int(name["bytes"]), name["sha256"])
            found.append(Change(name["change"], record))
    return sorted(found)


def append(warehouse: Warehouse, rows: Sequence[Mapping[str, Any]]) -> str:
    """Write one change, of one or more rows, behind all others; returns its key. To be called with ``LOCK`` held.

    Args:
        rows: values of the columns of ``list_changes`` but for ``change``, ``number`` and ``changed_at``.

    Raises:
        UnavailableError: the warehouse cannot be written.
        DataError: rows do not match the declaration.
        DiskFullError: no space left; nothing is left behind.
    """
    earlier = changes(warehouse)
    now = datetime.now(UTC)
    if earlier:  # clocks of machines differ: a change must not come before what it was decided on
        now = max(now, earlier[-1].made_at + timedelta(microseconds=1))
    key = f"{now.strftime(_TIME)}-{secrets.token_hex(4)}"
    own = [{"change": key, "number": i, "changed_at": now, **row} for i, row in enumerate(rows, 1)]
    table, sink = declared(LIST_CHANGES), pa.BufferOutputStream()
    write_parquet(table, to_table(table, own, {}), sink)
    data = sink.getvalue().to_pybytes()
    name = f"part-{key}-{len(own)}-{len(data)}-{hashlib.sha256(data).hexdigest()}.parquet"
    try:
        warehouse.storage.put(f"{LIST_CHANGES}/{name}", data)
    except PermissionError as error:  # of an object store; a local folder says so itself
        cure = "ask for the right to write, or copy the warehouse to a place of your own"
        raise UnavailableError("lists and notes cannot be written", where=warehouse.root, cure=cure) from error
    return key


def locked(warehouse: Warehouse) -> Any:
    """A context in which nobody else changes lists, on this machine or another."""
    return held(warehouse, LOCK)
