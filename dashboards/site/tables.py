"""The tables of a site: which it has, and each as one Parquet file."""

import re
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from dashboards.site.declarations import Page
from warehouse.catalog.marts import quoted_name, quoted_text

FOR_SQL = (
    "causal_summary",
    "composition_overview",
    "efficiency_by_leap",
    "efficiency_curves",
    "entity_classification",
    "entity_knowledge",
    "explanation_overview",
    "fate_agreement",
    "findings",
    "judge_costs",
    "label_coverage",
    "label_scores",
    "latest_comparisons",
    "operator_leaderboard",
    "sae_comparison",
    "sae_frontier",
    "scaling_curves",
    "spectra_overview",
    "transport_map",
)
"""Marts that are there for the SQL page, whether or not a page reads them: small, and without text of the corpus."""
LEFT_OUT = frozenset(("path", "registry_uri", "settings", "unread_files"))
"""Columns that say where things lie on the machine that made them."""
OF_COLLECTION = frozenset(("collection", "left_collection", "right_collection"))
"""Columns that say of which collection a row is."""
LEVEL = 12
"""Of zstd."""


@dataclass(frozen=True)
class PublishedTable:
    """One table of the site."""

    name: str
    meaning: str
    columns: tuple[dict[str, str], ...]
    """Name, type of DuckDB and meaning."""
    rows: int
    file: str | None
    """In the site; None without rows."""
    bytes: int


def known_tables(connection: duckdb.DuckDBPyConnection) -> dict[str, str]:
    """Table or mart -> its meaning."""
    found = connection.execute("select distinct table_name, table_meaning from catalog order by table_name").fetchall()
    return dict(found)


def wanted_tables(pages: Iterable[Page], known: Collection[str]) -> list[str]:
    """Tables and marts that the pages read or the SQL page offers, by name."""
    read = {name for page in pages for sql in page.statements() for name in re.findall(r"\b(?:from|join) (\w+)", sql)}
    return sorted((read | set(FOR_SQL)) & set(known))


def has_rows(
    connection: duckdb.DuckDBPyConnection, name: str, known: Collection[str], collections: Sequence[str]
) -> bool:
    """Whether a table or mart has rows of these collections."""
    if name not in known:
        return False
    sql = f"select 1 from {quoted_name(name)} where list_contains($keys, collection) limit 1"
    return connection.execute(sql, {"keys": list(collections)}).fetchone() is not None


def write_table(
    connection: duckdb.DuckDBPyConnection, name: str, meaning: str, collections: Sequence[str], folder: Path
) -> PublishedTable:
    """Write the rows of some collections as ``data/{name}.parquet``: sorted by all columns, so that equal rows give equal bytes.

    Args:
        connection: with one thread, so that sums do not depend on the order of threads.
        name: of a table or mart with the column ``collection``, or ``left_collection`` and ``right_collection``.
        meaning: of one row.
        collections: their keys.
        folder: of the site.
    """
    described = connection.execute(
        "select column_name, type, meaning, unit from catalog where table_name = ?", [name]
    ).fetchall()
    columns = tuple(
        {"name": column, "type": type_, "meaning": f"{text} [{unit}]" if unit else text}
        for column, type_, text, unit in described
        if column not in LEFT_OUT
    )
    listed = ", ".join(quoted_name(column["name"]) for column in columns)
    keys = ", ".join(map(quoted_text, collections))
    of_these = " and ".join(f"{column['name']} in ({keys})" for column in columns if column["name"] in OF_COLLECTION)
    statement = f"select {listed} from {quoted_name(name)} where {of_these} order by all"
    return _written(connection.sql(statement).to_arrow_table(), name, meaning, columns, folder)


def write_rows(rows: pa.Table, meaning: str, types: Sequence[str], name: str, folder: Path) -> PublishedTable:
    """Write rows that no mart holds, such as sentences.

    Args:
        rows: of the table.
        meaning: of one row.
        types: of DuckDB, one for each column.
        name: of the table.
        folder: of the site.
    """
    columns = tuple({"name": n, "type": t, "meaning": ""} for n, t in zip(rows.column_names, types, strict=True))
    return _written(rows, name, meaning, columns, folder)


def _written(
    rows: pa.Table, name: str, meaning: str, columns: tuple[dict[str, str], ...], folder: Path
) -> PublishedTable:
    if rows.num_rows == 0:
        return PublishedTable(name, meaning, columns, 0, None, 0)
    file = f"data/{name}.parquet"
    schema = pa.schema([field.with_type(_in_utc(field.type)) for field in rows.schema])
    content = min(_encoded(rows.cast(schema)), key=len)
    (folder / file).write_bytes(content)
    return PublishedTable(name, meaning, columns, rows.num_rows, file, len(content))


def _encoded(rows: pa.Table) -> tuple[bytes, bytes]:
    """A Parquet file, and one whose numbers are stored byte by byte: smaller by a quarter unless they recur."""
    numbers = [field.name for field in rows.schema if pa.types.is_floating(field.type)]
    others = [name for name in rows.column_names if name not in numbers]
    files = []
    for by_byte in (False, numbers):
        file = pa.BufferOutputStream()
        of_numbers: Any = {"use_byte_stream_split": by_byte, "use_dictionary": others if by_byte else True}
        pq.write_table(rows, file, compression="zstd", compression_level=LEVEL, **of_numbers)
        files.append(file.getvalue().to_pybytes())
    return files[0], files[1]


def _in_utc(type_: pa.DataType) -> Any:
    """The type of an instant without the zone of this machine."""
    return pa.timestamp(type_.unit, "UTC") if pa.types.is_timestamp(type_) and type_.tz else type_
