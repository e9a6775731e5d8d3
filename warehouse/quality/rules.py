"""The engine of the rules between rows and tables: unique keys, keys that join, and what each table declares.

In a rule, ``<table>`` holds the rows under check; ``known_<table>`` also holds the rows of complete stages.
"""

import re
from collections.abc import Container, Iterable, Iterator, Sequence
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.catalog.catalog import duckdb_type
from warehouse.catalog.sources import place_of, settings, table_rows
from warehouse.catalog.sql_errors import running
from warehouse.quality.suites import MAX_EXAMPLES, Finding, plain
from warehouse.storage.object_storage import ObjectStorage
from warehouse.storage.warehouse import FileRecord, Warehouse
from warehouse.tables import TABLES, Rule, Table
from warehouse.tables.lists import LIST_CHANGES

_WORD = re.compile(r"\w+")


def rules(table: Table) -> Iterator[Rule]:
    """The rules that follow from the declaration's columns and key, then those declared with the table."""
    key, names = ", ".join(table.key), {c.name for c in table.columns}
    yield Rule(
        "key is unique", key, f"select {key}, count(*) as n_rows from {table.name} group by {key} having count(*) > 1"
    )
    if {"source_layer", "leap", "target_layer"} <= names:
        yield Rule(
            "target_layer is source_layer + leap",
            "source_layer, leap, target_layer",
            f"select distinct collection, source_layer, leap, target_layer from {table.name} "
            "where source_layer + leap <> target_layer",
        )
    if "collection" in names and table.name not in ("collections", "stage_runs", "quality_results", LIST_CHANGES):
        yield Rule(
            "collection is in collections",
            "collection",
            f"select distinct t.collection from {table.name} as t anti join known_collections using (collection)",
        )
    yield from table.rules


def check_rules(
    warehouse: Warehouse, fresh: Sequence[FileRecord], known: Sequence[FileRecord], activations: pa.Table | None
) -> list[Finding]:
    """Check every rule of the tables that ``fresh`` belongs to, reading only the columns a rule names.

    Args:
        fresh: files under check.
        known: files of complete stages that keys may refer to.
        activations: the sample to check of the activations: their columns, ``residual`` replaced by
            ``residual_norm``; None if there are none.

    Raises:
        DamagedFileError: a file cannot be read.
    """
    with duckdb.connect(config={**settings(), "threads": 2}) as connection, running():
        if isinstance(warehouse.storage, ObjectStorage):
            tables = {f.table_name for f in (*fresh, *known)} - {"artifacts", "activations"}
            connection.register_filesystem(warehouse.storage.snapshot(sorted(tables)))
        checked = [t for t in TABLES.values() if any(f.table_name == t.name for f in fresh)]
        named = {t.name for t in checked} | {
            word for table in checked for rule in rules(table) for word in _WORD.findall(rule.offenders)
        }
        _register(connection, warehouse, fresh, known, activations, named)
        return [_check(connection, table, rule) for table in checked for rule in rules(table)]


def _register(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    fresh: Sequence[FileRecord],
    known: Sequence[FileRecord],
    activations: pa.Table | None,
    named: Container[str],
) -> None:
    """Views of the tables that rules name, and the rows of each activations file."""
    for table in TABLES.values():
        if table.name == "activations":
            continue
        for name, files in ((table.name, fresh), (f"known_{table.name}", (*fresh, *known))):
            if name not in named:
                continue
            paths = sorted({f.path for f in files if f.table_name == table.name})
            connection.execute(f"create view {name} as {_select(warehouse, table, paths)}")
    if activations is not None:
        connection.register("activations", activations)
    counts = {f.path: f.rows for f in (*known, *fresh) if f.table_name == "activations"}
    rows = [{**partition_values(TABLES["activations"], path), "n_rows": n} for path, n in counts.items()]
    schema = pa.schema([("collection", pa.string()), ("layer", pa.int32()), ("n_rows", pa.int64())])
    connection.register("activation_files", pa.Table.from_pylist(rows, schema))


def _select(warehouse: Warehouse, table: Table, paths: Sequence[str]) -> str:
    types = {c.name: duckdb_type(c.type) for c in table.columns if c.type is not None}
    if not paths:
        return "select " + ", ".join(f"null::{kind} as {name}" for name, kind in types.items()) + " where false"
    return f"from {table_rows(table, types, paths, place_of(warehouse))}"


def partition_values(table: Table, path: str) -> dict[str, Any]:
    """Values of the partition columns, which stand in a file's path and not in the file."""
    steps = dict(step.split("=", 1) for step in path.split("/")[1:-1])
    return {name: pa.scalar(steps[name]).cast(table.column(name).type).as_py() for name in table.partition}


def _check(connection: duckdb.DuckDBPyConnection, table: Table, rule: Rule) -> Finding:
    checked = _value(connection, f"select count(*) from {table.name}")
    unexpected = _value(connection, f"select count(*) from ({rule.offenders})")
    examples: Iterable[dict[str, Any]] = ()
    if unexpected:
        offenders = f"select * from ({rule.offenders}) order by all limit {MAX_EXAMPLES}"
        examples = connection.sql(offenders).to_arrow_table().to_pylist()
    rows = tuple({name: plain(value) for name, value in row.items()} for row in examples)
    return Finding(table.name, rule.expectation, rule.column, checked, unexpected, rows)


def _value(connection: duckdb.DuckDBPyConnection, sql: str) -> int:
    ((value,),) = connection.sql(sql).fetchall()
    return int(value)
