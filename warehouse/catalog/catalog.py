"""The catalog: one DuckDB view per table over the files of complete stages, then the marts; no data are copied."""

import json
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from importlib import resources
from itertools import chain
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa

from warehouse.catalog.contents import Contents, contents_of
from warehouse.catalog.copied_views import copy_views, kept_views
from warehouse.catalog.mart_files import FOLDER, Stored, stored_marts
from warehouse.catalog.marts import (
    MATERIALISED,
    closure,
    create_mart_views,
    mart_texts,
    order_of,
    quoted_name,
    quoted_text,
)
from warehouse.catalog.query import run_select
from warehouse.catalog.sources import Place, literal_pattern, mart_rows, place_of, settings
from warehouse.catalog.sql_errors import running
from warehouse.catalog.table_views import create_tables, duckdb_type, table_script
from warehouse.storage.manifests import manifests_and_damage
from warehouse.storage.object_storage import ObjectStorage
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES, Column, Table
from warehouse.tables.lists import LIST_CHANGES

__all__ = ["connect", "create_tables", "create_views", "duckdb_type", "rows", "run_select"]

COMPUTED = "computed"
"""Schema with the tables and marts of the collections whose materialised marts are not all in files."""


def connect(
    root: str | Path | Warehouse | None = None,
    *,
    read_only: bool = True,
    memory: str | None = None,
    threads: int | None = None,
    must_exist: bool = True,
) -> duckdb.DuckDBPyConnection:
    """A fresh in-memory DuckDB connection with a view for every table and mart, as of now.

    Views read only files of complete stages that passed their checks. A query of a table with a missing or short file
    raises (``damaged file ...``); other tables are unaffected. The view ``catalog`` describes
    every column.

    Args:
        root: default the environment variable ``ATO_WAREHOUSE``, else ``./data/warehouse``.
        read_only: True switches access outside the warehouse off and locks the settings. What SQL may do inside is
            checked by ``run_select``, through which all SQL of users should go.
        memory: memory limit of all statements together (``"2GB"``), without spilling to disk; default: four fifths of
            the machine's memory, spilling to files below TMPDIR.
        threads: most threads of its statements; default: all cores.
        must_exist: False gives empty tables where there is no warehouse yet.

    Raises:
        InputError: there is no warehouse.
        SchemaVersionError: the warehouse was written with other table declarations.
        InputError: a mart's SQL file does not fit the tables.
    """
    warehouse = root if isinstance(root, Warehouse) else Warehouse(root)
    if must_exist:
        warehouse.check_exists()
    connection = open_database(warehouse)
    create_views(connection, warehouse)
    if memory is not None:
        connection.execute(f"set memory_limit = {quoted_text(memory)}; set temp_directory = ''")
    if threads is not None:
        connection.execute(f"set threads = {threads:d}")
    if read_only:
        # DuckDB holds the pattern against the list, and then the file that it finds.
        allowed = dict.fromkeys([warehouse.root, literal_pattern(warehouse.root)])
        connection.execute(f"set allowed_directories = [{', '.join(map(quoted_text, allowed))}]")
        connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


def open_database(warehouse: Warehouse, tables: Iterable[str] = TABLES) -> duckdb.DuckDBPyConnection:
    """A connection without views, for these tables; never downloads DuckDB extensions."""
    connection = duckdb.connect(config=settings())
    if isinstance(warehouse.storage, ObjectStorage):
        connection.register_filesystem(warehouse.storage.snapshot([*tables, FOLDER]))
    return connection


def create_views(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, place: Place | None = None) -> None:
    """Create the views of all tables with their comments, then the marts, then the view ``catalog``.

    Args:
        connection: where they are created.
        warehouse: of their files.
        place: how the views name the files; default: where they are now.
    """
    marts = mart_texts()
    copy_views(connection, _views_without_files(tuple(TABLES.values()), tuple(marts.items())))
    _create(connection, warehouse, TABLES.values(), marts, comments=True, place=place, copied=True)


@lru_cache(2)
def _views_without_files(tables: tuple[Table, ...], marts: tuple[tuple[str, str], ...]) -> bytes:
    """All views of a warehouse without files: binding the marts takes longer than all else, so it is done once and kept."""
    script = table_script(None, tables, {table.name: Contents() for table in tables}, comments=True)

    def make(connection: duckdb.DuckDBPyConnection) -> None:
        connection.execute(script)
        create_mart_views(connection, dict(marts))
        connection.execute(";\n".join(_catalog_view(connection)))

    programs = sorted(resources.files("warehouse.catalog").iterdir(), key=lambda file: file.name)
    sources = (file.read_text(encoding="utf-8") for file in programs if file.name.endswith(".py"))
    return kept_views([script, *chain.from_iterable(marts), *sources], make)


def renew_lists(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Let a connection of ``connect`` see the changes of lists that were written since, and nothing else.

    Not for an object store, of which a connection knows the files that there were when it was made.
    """
    contents = contents_of(warehouse, [LIST_CHANGES], [], [])
    create_tables(connection, warehouse, [TABLES[LIST_CHANGES]], contents, comments=True)


def rows(
    warehouse: str | Path | Warehouse | None, sql: str, parameters: Sequence[object] | Mapping[str, object] = ()
) -> list[dict[str, Any]]:
    """The rows of an internal select (with ``?`` or ``$name`` for parameters) as dictionaries.

    Raises:
        InputError: wrong SQL.
        DamagedFileError: a table that it reads has a missing or short file.
    """
    warehouse = warehouse if isinstance(warehouse, Warehouse) else Warehouse(warehouse)
    texts = mart_texts()
    named = closure(sql, texts)
    tables = [table for table in TABLES.values() if table.name in named]
    with open_database(warehouse, [table.name for table in tables]) as connection, running():
        marts = {mart: text for mart, text in texts.items() if mart in named}
        _create(connection, warehouse, tables, marts, comments=False)
        found: pa.Table = connection.sql(sql, params=_plain(parameters)).to_arrow_table()
        dictionaries: list[dict[str, Any]] = found.to_pylist(maps_as_pydicts="strict")
    return dictionaries


def _plain(parameters: Sequence[object] | Mapping[str, object]) -> Any:
    return dict(parameters) if isinstance(parameters, Mapping) else list(parameters)


def _create(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse,
    tables: Iterable[Table],
    marts: Mapping[str, str],
    *,
    comments: bool,
    place: Place | None = None,
    copied: bool = False,
) -> None:
    """Create views of tables and of marts that read no others; materialised marts are read from files where possible.

    ``copied``: those of a warehouse without files are there, and only what has files is created.
    """
    tables, place = list(tables), place or place_of(warehouse)
    runs, unreadable = manifests_and_damage(warehouse)
    contents = contents_of(warehouse, [table.name for table in tables], runs, unreadable)
    filled = [table for table in tables if contents[table.name].paths or contents[table.name].problem is not None]
    create_tables(connection, warehouse, filled if copied else tables, contents, comments=comments, place=place)
    kept = [mart for mart in MATERIALISED if mart in marts]
    read = {word for mart in kept for word in closure(mart, marts)}
    stored: dict[str, str] = {}
    # A mart over a damaged table raises, whether or not there is a file of what it held.
    if kept and all(contents[name].problem is None for name in read & contents.keys()):
        found = stored_marts(warehouse.storage.entries(FOLDER), runs)
        stored = {mart: _stored_select(found, mart, marts[mart], place) for mart in kept if found.files[mart]}
        if stored and found.rest:
            rest = {name: of_table.of(found.rest) for name, of_table in contents.items() if name in read}
            [(main,)] = connection.execute("select current_database() || '.' || current_schema()").fetchall()
            connection.execute(f"create schema {COMPUTED}; use {COMPUTED}")
            own = [table for table in tables if table.name in read]
            create_tables(connection, warehouse, own, rest, comments=False, place=place)
            create_mart_views(connection, {mart: marts[mart] for mart in marts if mart in read}, comments=False)
            connection.execute(f"use {main}")
    if copied:
        connection.execute(";\n".join(f"drop view {quoted_name(mart)}" for mart in stored))
        marts = {mart: marts[mart] for mart in stored}
    create_mart_views(connection, marts, comments=comments, stored=stored)


def _stored_select(found: Stored, mart: str, sql: str, place: Place) -> str:
    """The rows of a materialised mart from its files, by collection, and of the rest of the collections as computed."""
    select = mart_rows((file.path for file in found.files[mart]), place)
    if not found.rest:
        return select
    return f"from ({select} union all from {COMPUTED}.{quoted_name(mart)}) order by {order_of(sql)}"


def _catalog_view(connection: duckdb.DuckDBPyConnection) -> Iterable[str]:
    """The view ``catalog``: every column of every table as declared, and of every mart as derived."""
    described = [
        ("table", t.name, t.meaning, c.name, _declared_type(c), c.unit, c.meaning)
        for t in TABLES.values()
        for c in t.columns
    ]
    described += connection.sql(
        "select 'mart', v.view_name, coalesce(v.comment, ''), c.column_name, c.data_type, '', '' "
        "from duckdb_views() v join duckdb_columns() c on c.table_oid = v.view_oid and c.database_oid = v.database_oid "
        f"where not v.internal and v.schema_name = 'main' and v.view_name not in ({', '.join(map(quoted_text, TABLES))}) "
        "order by v.view_name, c.column_index"
    ).fetchall()
    columns = ("kind", "table_name", "table_meaning", "column_name", "type", "unit", "meaning")
    # One literal: as VALUES each statement that reads the view would plan thousands of expressions.
    rows = quoted_text(json.dumps([dict(zip(columns, row)) for row in described], ensure_ascii=False))
    structure = quoted_text(json.dumps([dict.fromkeys(columns, "VARCHAR")]))
    yield f"create view catalog as select unnest(from_json({rows}, {structure}), recursive := true)"
    yield "comment on view catalog is 'one row: a column of a table or mart with its type, unit and meaning'"


def _declared_type(column: Column) -> str:
    return "FLOAT[d_model]" if column.type is None else duckdb_type(column.type)
