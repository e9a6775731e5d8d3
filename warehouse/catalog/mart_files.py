"""Names of the files of materialised marts, and which of them hold what the tables hold now.

A file is named after the mart, the collection, the key of what it was made from, its size and its SHA-256. A reader
computes the key anew from the manifests: a file of another key is never read, so that it cannot be stale, whoever wrote it
and whenever. One publish makes it visible; nothing lists it.
"""

import hashlib
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, fields
from typing import NamedTuple

import duckdb

from warehouse.catalog.contents import collection_of, is_visible
from warehouse.catalog.marts import MATERIALISED, closure, mart_texts
from warehouse.storage.manifests import StageRun
from warehouse.storage.staging import Entry
from warehouse.tables import SCHEMA_VERSION, TABLES

FOLDER = "marts"
_NAME = re.compile(
    rf"{FOLDER}/collection=(?P<collection>[^/]+)/mart=(?P<mart>\w+)/"
    r"(?P<key>[0-9a-f]{16})-(?P<bytes>\d+)-(?P<sha256>[0-9a-f]{64})\.parquet"
)
_OF_A_RUN = [field.name for field in fields(StageRun) if field.name != "files"]


class MartFile(NamedTuple):
    """The rows of one mart of one collection."""

    mart: str
    collection: str
    key: str
    """Hash of the SQL and of the files of the tables that it reads."""
    bytes: int
    sha256: str

    @property
    def path(self) -> str:
        """Its path, relative to the warehouse."""
        return f"{mart_folder(self.mart, self.collection)}/{self.key}-{self.bytes}-{self.sha256}.parquet"


@dataclass(frozen=True)
class Stored:
    """Which collections' rows of the materialised marts lie in files, and which must be computed."""

    files: dict[str, list[MartFile]]
    """Mart -> a file for each collection of which all marts are there, by collection."""
    rest: frozenset[str]
    """The other collections that have rows."""

    @property
    def paths(self) -> set[str]:
        """Paths of all files, relative to the warehouse."""
        return {file.path for of_mart in self.files.values() for file in of_mart}


def mart_folder(mart: str, collection: str) -> str:
    """Folder of a mart's files of a collection, relative to the warehouse."""
    return f"{FOLDER}/collection={collection}/mart={mart}"


def mart_file(path: str) -> MartFile | None:
    """What the name of a file says; None if it is not the name of a mart's file."""
    found = _NAME.fullmatch(path)
    if found is None:
        return None
    return MartFile(found["mart"], found["collection"], found["key"], int(found["bytes"]), found["sha256"])


def tables_read(texts: Mapping[str, str]) -> set[str]:
    """Names of the tables that materialised marts read."""
    return {word for mart in MATERIALISED for word in closure(mart, texts)} & TABLES.keys()


def mart_keys(runs: Iterable[StageRun], texts: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Collection -> materialised mart -> key, for every collection with rows.

    Args:
        runs: all stage runs, passed and failed.
        texts: mart -> its SQL.
    """
    tables = tables_read(texts)
    found: dict[tuple[str, str], set[str]] = {}
    for run in runs:
        if any(file.table_name in TABLES and file.table_name != "quality_results" for file in run.files):
            facts = str([getattr(run, name) for name in _OF_A_RUN])  # a report has no rows that a mart could show
            found.setdefault((run.collection, "stage_runs"), set()).add(facts)
        for file in run.files:
            if file.table_name in tables and is_visible(run, file.table_name):
                where = collection_of(file.path) or run.collection, file.table_name
                found.setdefault(where, set()).add(f"{file.path} {file.sha256}")
    digests = {where: _hash(sorted(facts)) for where, facts in found.items()}
    by_mart = {mart: sorted(closure(mart, texts)) for mart in MATERIALISED}
    programs = {mart: [texts[word] for word in words if word in texts] for mart, words in by_mart.items()}
    return {
        collection: {
            mart: _hash(
                [
                    duckdb.__version__,  # another version may give a column another type
                    str(SCHEMA_VERSION),
                    *programs[mart],
                    *(f"{word} {digests.get((collection, word), '')}" for word in words if word in tables),
                ]
            )[:16]
            for mart, words in by_mart.items()
        }
        for collection in sorted({collection for collection, table in found if table != "stage_runs"})
    }


def stored_marts(
    entries: Mapping[str, Entry], runs: Collection[StageRun], texts: Mapping[str, str] | None = None
) -> Stored:
    """The files among ``entries`` (path -> entry) that hold what the tables hold now, with their recorded size."""
    expected = mart_keys(runs, texts or mart_texts())
    there: dict[tuple[str, str, str], MartFile] = {}
    for path in sorted(entries):
        file = mart_file(path)
        if file is not None and entries[path].bytes == file.bytes:
            there.setdefault((file.mart, file.collection, file.key), file)
    complete = [key for key, of in expected.items() if all((mart, key, of[mart]) in there for mart in MATERIALISED)]
    files = {mart: [there[mart, key, expected[key][mart]] for key in complete] for mart in MATERIALISED}
    return Stored(files, frozenset(expected.keys() - set(complete)))


def _hash(texts: Iterable[str]) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()
