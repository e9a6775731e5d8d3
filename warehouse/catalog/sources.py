"""Parquet files as sources in SQL: names are taken letter by letter, partition keys from the table's own folders only."""

import re
import tempfile
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from warehouse.catalog.marts import quoted_name, quoted_text
from warehouse.storage.staging import staging_name
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import Table

_GLOB = re.compile(r"[*?\[{]")


@dataclass(frozen=True)
class Place:
    """How SQL names the files of a warehouse."""

    address: Callable[[str], str]
    """SQL text of the address of a path that is relative to the warehouse."""
    condition: str = ""
    """SQL text behind the FROM clause of each select over files."""


def place_of(warehouse: Warehouse) -> Place:
    """The files where they are now."""
    return Place(lambda path: quoted_text(literal_pattern(warehouse.storage.url(path))))


def settings() -> dict[str, Any]:
    """Settings of every connection: no extension is downloaded, and what does not fit in memory spills to TMPDIR.

    DuckDB's own choice is a folder below the working folder, which may not be writable. It makes the folder when a query
    spills and removes it with the connection.
    """
    return {
        "autoinstall_known_extensions": False,
        "autoload_known_extensions": False,
        "temp_directory": str(Path(tempfile.gettempdir(), staging_name("ato-duckdb"))),
    }


def literal_pattern(address: str) -> str:
    """A pattern that matches this address only: DuckDB reads ``* ? [ {`` in names of files as patterns."""
    return _GLOB.sub(r"[\g<0>]", address)


def mart_rows(paths: Iterable[str], place: Place) -> str:
    """A select of the rows of a materialised mart's files."""
    return f"from read_parquet([{_listed(paths, place)}], hive_partitioning = false){place.condition}"


def table_rows(table: Table, types: Mapping[str, str], paths: Iterable[str], place: Place) -> str:
    """The rows of a table's files with the columns of its partition, to stand behind FROM.

    Their values are read from the last folders of each path. DuckDB's own ``hive_partitioning`` would also take them, and
    replace columns of the files, from folders above the warehouse such as ``layer=12/``. A query that names a value
    opens the files of that value only, as there.

    Args:
        table: whose files they are.
        types: SQL type of each column.
        paths: of the files, relative to the warehouse.
        place: of the warehouse.
    """
    keys = [
        f"substr(split_part(filename, '/', {i - len(table.partition) - 1}), {len(name) + 2})::{types[name]} "
        f"as {quoted_name(name)}"
        for i, name in enumerate(table.partition)
    ]
    source = f"read_parquet([{_listed(paths, place)}], hive_partitioning = false, filename = true)"
    return f"(select {', '.join(['* exclude (filename)', *keys])} from {source}{place.condition})"


def _listed(paths: Iterable[str], place: Place) -> str:
    return ", ".join(place.address(path) for path in paths)
