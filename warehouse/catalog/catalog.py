"""The catalog: one DuckDB view per table over the files of complete stages, then the marts; no data are copied."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from ato.errors import DamagedFileError, InputError
from warehouse.catalog.query import run_select
from warehouse.catalog.sql_errors import running
from warehouse.storage.backends import ObjectStorage
from warehouse.storage.manifests import (
    ADDED_LATER,
    PASSED,
    REBUILD,
    StageRun,
    manifest_path,
    manifests_and_damage,
)
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES, Column, Table

__all__ = ["connect", "create_marts", "create_views", "duckdb_type", "publish", "rows", "run_select"]

_WORD = re.compile(r"\w+")
PUBLISHED = "warehouse.duckdb"
UNFILTERED = ("stage_runs", "quality_results")
"""Tables that also show stages that failed their checks, so that the reason can be read."""

_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_string, "VARCHAR"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_int32, "INTEGER"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_float32, "FLOAT"),
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_timestamp, "TIMESTAMP WITH TIME ZONE"),
)


@dataclass
class _Contents:
    """Files of one table."""

    paths: list[str] = field(default_factory=list)
    problem: str | None = None
    older: list[str] = field(default_factory=list)
    """Manifests that note no batch; those of earlier versions lack its columns, and a query shows NULL."""


def duckdb_type(type_: pa.DataType) -> str:
    """The DuckDB type of a declared Arrow type."""
    if pa.types.is_map(type_):
        return f"MAP({duckdb_type(type_.key_type)}, {duckdb_type(type_.item_type)})"
    if pa.types.is_struct(type_):
        return f"STRUCT({', '.join(f'{_name(f.name)} {duckdb_type(f.type)}' for f in type_)})"
    if pa.types.is_fixed_size_list(type_):
        return f"{duckdb_type(type_.value_type)}[{type_.list_size}]"
    if pa.types.is_list(type_):
        return f"{duckdb_type(type_.value_type)}[]"
    return next(name for matches, name in _SCALARS if matches(type_))


def connect(
    root: str | Path | Warehouse | None = None, *, read_only: bool = True, memory: str | None = None
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
            the machine's memory, spilling to files below ``.tmp``.

    Raises:
        SchemaVersionError: the warehouse was written with other table declarations.
        InputError: a mart's SQL file does not fit the tables.
    """
    warehouse = root if isinstance(root, Warehouse) else Warehouse(root)
    connection = _open(warehouse)
    create_views(connection, warehouse)
    if memory is not None:
        connection.execute(f"set memory_limit = {_text(memory)}; set temp_directory = ''")
    if read_only:
        connection.execute(f"set allowed_directories = [{_text(warehouse.root)}]")
        connection.execute("set enable_external_access = false; set lock_configuration = true")
    return connection


def _open(
    warehouse: Warehouse, tables: Iterable[str] = TABLES, database: str = ":memory:"
) -> duckdb.DuckDBPyConnection:
    """A connection without views, for these tables; never downloads DuckDB extensions."""
    quiet: dict[str, Any] = {"autoinstall_known_extensions": False, "autoload_known_extensions": False}
    connection = duckdb.connect(database, config=quiet)
    if isinstance(warehouse.storage, ObjectStorage):
        connection.register_filesystem(warehouse.storage.snapshot(tables))
    return connection


def publish(root: str | Path | Warehouse | None = None) -> str:
    """Write the same catalog as ``warehouse.duckdb`` into the root, for other DuckDB clients; returns its address.

    The file holds views only (with absolute paths) and is replaced atomically, so readers never meet a writer's lock.
    """
    warehouse = root if isinstance(root, Warehouse) else Warehouse(root)

    def write(path: Path) -> None:
        with _open(warehouse, database=str(path)) as connection:
            create_views(connection, warehouse)

    warehouse.storage.publish(PUBLISHED, write)
    return warehouse.storage.url(PUBLISHED)


def create_views(connection: duckdb.DuckDBPyConnection, warehouse: Warehouse) -> None:
    """Create the views of all tables with their comments, the view ``catalog``, then the marts."""
    _create_tables(connection, warehouse, TABLES.values())
    create_marts(connection, _marts_folder())
    connection.execute(";\n".join(_catalog_view(connection)))


def _create_tables(
    connection: duckdb.DuckDBPyConnection, warehouse: Warehouse, tables: Iterable[Table], *, comments: bool = True
) -> None:
    tables = list(tables)
    contents = _contents(warehouse, {table.name for table in tables})
    script = [s for table in tables for s in _table_view(warehouse, table, contents, comments=comments)]
    # One transaction: each statement of its own would be flushed to the disk when the catalog is published.
    connection.execute(";\n".join(["begin", *script, "commit"]))


def rows(warehouse: str | Path | Warehouse | None, sql: str, parameters: Sequence[object] = ()) -> list[dict[str, Any]]:
    """The rows of an internal select (with ``?`` for parameters) as dictionaries.

    Raises:
        InputError: wrong SQL.
        DamagedFileError: a table that it reads has a missing or short file.
    """
    warehouse = warehouse if isinstance(warehouse, Warehouse) else Warehouse(warehouse)
    marts = _mart_texts(_marts_folder())
    named = _closure(sql, marts)
    tables = [table for table in TABLES.values() if table.name in named]
    with _open(warehouse, [table.name for table in tables]) as connection, running():
        _create_tables(connection, warehouse, tables, comments=False)
        _create_marts(connection, {mart: text for mart, text in marts.items() if mart in named}, comments=False)
        found: pa.Table = connection.sql(sql, params=list(parameters)).to_arrow_table()
        dictionaries: list[dict[str, Any]] = found.to_pylist(maps_as_pydicts="strict")
    return dictionaries


def _closure(sql: str, marts: Mapping[str, str]) -> set[str]:
    """All words of a statement and, transitively, of the marts that it names: a superset of the tables it reads."""
    words, new = set[str](), set(_WORD.findall(sql))
    while new:
        words |= new
        new = {word for mart in new & marts.keys() for word in _WORD.findall(marts[mart])} - words
    return words


def _contents(warehouse: Warehouse, tables: Iterable[str]) -> dict[str, _Contents]:
    """Table -> its files and the first problem with them."""
    contents = {name: _Contents() for name in tables}
    runs, unreadable = manifests_and_damage(warehouse)
    visible = [f for run in runs for f in run.files if f.table_name in contents and _is_visible(run, f.table_name)]
    problems = warehouse.damage(visible)
    for file in sorted({f.path: f for f in visible}.values(), key=lambda f: f.path):
        of_table = contents[file.table_name]
        of_table.paths.append(file.path)
        if file.path in problems and of_table.problem is None:
            of_table.problem = _damaged(warehouse, file.path, problems[file.path])
    if "stage_runs" in contents:
        of_runs = contents["stage_runs"]
        of_runs.paths = sorted(manifest_path(run.stage, run.key) for run in runs if run.batch is not None)
        of_runs.older = sorted(manifest_path(run.stage, run.key) for run in runs if run.batch is None)
    if unreadable:
        # Nobody knows which tables the lost manifest fed: an answer without its rows would be silently wrong.
        for of_table in contents.values():
            of_table.problem = of_table.problem or _damaged(warehouse, unreadable[0], "manifest cannot be read")
    return contents


def _is_visible(run: StageRun, table: str) -> bool:
    return run.quality == PASSED or table in UNFILTERED


def _damaged(warehouse: Warehouse, path: str, problem: str) -> str:
    return str(DamagedFileError(f"damaged file {warehouse.storage.url(path)}", where=problem, cure=REBUILD))


def _table_view(warehouse: Warehouse, table: Table, contents: dict[str, _Contents], *, comments: bool) -> Iterable[str]:
    paths, problem, older = contents[table.name].paths, contents[table.name].problem, contents[table.name].older
    residual = _residual_type(warehouse, paths) if table.name == "activations" and problem is None else "FLOAT[]"
    types = {c.name: residual if c.type is None else duckdb_type(c.type) for c in table.columns}
    if problem is not None or not (paths or older):
        # The error stands in the FROM clause, so that it is raised whichever columns are asked for; columns are made of
        # it, as a comparison with a constant NULL would let DuckDB answer without looking.
        value = "null" if problem is None else "e"
        columns = ", ".join(f"cast({value} as {type_}) as {_name(name)}" for name, type_ in types.items())
        source = (
            "(select 1) where false"
            if problem is None
            else f"(select error({_text(problem)})::varchar e) where e is null"
        )
        selects = [f"select {columns} from {source}"]
    else:
        stored = {n: f"{_name(n)}::{t} as {_name(n)}" if n == "residual" else _name(n) for n, t in types.items()}
        absent = {n: f"null::{types[n]} as {_name(n)}" for n in ADDED_LATER if n in types}
        selects = [
            f"select {', '.join(columns.values())} from {_files(warehouse, table, types, files)}"
            for columns, files in ((stored, paths), (stored | absent, older))
            if files
        ]
    yield f"create view {_name(table.name)} as {' union all '.join(selects)}"
    if not comments:
        return
    yield f"comment on view {_name(table.name)} is {_text('one row: ' + table.meaning)}"
    for column in table.columns:
        yield f"comment on column {_name(table.name)}.{_name(column.name)} is {_text(_comment(column))}"


def _files(warehouse: Warehouse, table: Table, types: Mapping[str, str], paths: Iterable[str]) -> str:
    """The rows of Parquet files of a table."""
    files = ", ".join(_text(warehouse.storage.url(path)) for path in paths)
    hive = ", ".join(f"{_name(name)}: {types[name]}" for name in table.partition)
    return f"read_parquet([{files}], hive_partitioning = true, hive_types = {{{hive}}})"


def _comment(column: Column) -> str:
    return f"{column.meaning} [{column.unit}]" if column.unit else column.meaning


def _residual_type(warehouse: Warehouse, paths: list[str]) -> str:
    """FLOAT[d] if all collections share one d_model (Parquet itself does not keep the width), else FLOAT[]."""
    widths = set()
    for path in {path.split("/")[1]: path for path in paths}.values():
        try:
            widths.add(pq.read_schema(warehouse.storage.open(path)).field("residual").type.list_size)
        except (pa.ArrowException, OSError, KeyError, AttributeError):
            return "FLOAT[]"
    return f"FLOAT[{widths.pop()}]" if len(widths) == 1 else "FLOAT[]"


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
        f"where not v.internal and v.view_name not in ({', '.join(map(_text, TABLES))}) "
        "order by v.view_name, c.column_index"
    ).fetchall()
    values = ", ".join(f"({', '.join(map(_text, row))})" for row in described)
    columns = "kind, table_name, table_meaning, column_name, type, unit, meaning"
    yield f"create view catalog as from (values {values}) t({columns})"
    yield "comment on view catalog is 'one row: a column of a table or mart with its type, unit and meaning'"


def _declared_type(column: Column) -> str:
    return "FLOAT[d_model]" if column.type is None else duckdb_type(column.type)


def create_marts(connection: duckdb.DuckDBPyConnection, folder: Any) -> None:
    """Create one view for each ``<mart>.sql`` of a folder: one select, its first comment line is its meaning.

    Marts may read other marts in any order.

    Raises:
        InputError: a file is not one select, is named like a table, or does not fit the tables.
    """
    _create_marts(connection, _mart_texts(folder))


def _marts_folder() -> Any:
    return resources.files("warehouse").joinpath("sql")


def _mart_texts(folder: Any) -> dict[str, str]:
    """Mart -> its SQL."""
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    return {file.name.removesuffix(".sql"): file.read_text(encoding="utf-8") for file in files}


def _create_marts(connection: duckdb.DuckDBPyConnection, texts: Mapping[str, str], *, comments: bool = True) -> None:
    waiting = dict(texts)
    while waiting:
        failed: dict[str, Exception] = {}
        for mart, sql in waiting.items():
            if mart in TABLES:
                raise InputError("a mart has the name of a table", where=f"{mart}.sql", cure="rename the file")
            try:
                (select,) = duckdb.extract_statements(sql)
                connection.execute(f"create view {_name(mart)} as {select.query}")
            except (duckdb.Error, ValueError) as error:
                failed[mart] = error
                continue
            first = sql.lstrip().splitlines()[0]
            if comments and first.startswith("--"):
                connection.execute(f"comment on view {_name(mart)} is {_text(first.removeprefix('--').strip())}")
        if len(failed) == len(waiting):
            mart, reason = next(iter(failed.items()))
            raise InputError(f"mart does not fit the tables: {reason}", where=f"{mart}.sql") from reason
        waiting = {mart: waiting[mart] for mart in failed}


def _name(identifier: str) -> str:
    return '"' + identifier.replace('"', '""') + '"'


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
