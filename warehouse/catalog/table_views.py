"""The view of each table over its files, with the comments of the table and of its columns."""

from collections.abc import Callable, Iterable, Mapping

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq

from warehouse.catalog.contents import Contents
from warehouse.catalog.marts import quoted_name, quoted_text
from warehouse.catalog.sources import Place, place_of, table_rows
from warehouse.storage.manifests import ADDED_LATER
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import Column, Table

_SCALARS: tuple[tuple[Callable[[pa.DataType], bool], str], ...] = (
    (pa.types.is_string, "VARCHAR"),
    (pa.types.is_int64, "BIGINT"),
    (pa.types.is_int32, "INTEGER"),
    (pa.types.is_float64, "DOUBLE"),
    (pa.types.is_float32, "FLOAT"),
    (pa.types.is_boolean, "BOOLEAN"),
    (pa.types.is_timestamp, "TIMESTAMP WITH TIME ZONE"),
)


def duckdb_type(type_: pa.DataType) -> str:
    """The DuckDB type of a declared Arrow type."""
    if pa.types.is_map(type_):
        return f"MAP({duckdb_type(type_.key_type)}, {duckdb_type(type_.item_type)})"
    if pa.types.is_struct(type_):
        return f"STRUCT({', '.join(f'{quoted_name(f.name)} {duckdb_type(f.type)}' for f in type_)})"
    if pa.types.is_fixed_size_list(type_):
        return f"{duckdb_type(type_.value_type)}[{type_.list_size}]"
    if pa.types.is_list(type_):
        return f"{duckdb_type(type_.value_type)}[]"
    return next(name for matches, name in _SCALARS if matches(type_))


def create_tables(
    connection: duckdb.DuckDBPyConnection,
    warehouse: Warehouse | None,
    tables: Iterable[Table],
    contents: Mapping[str, Contents],
    *,
    comments: bool,
    place: Place | None = None,
) -> None:
    """Create a view for each table over these files; without a warehouse there are none."""
    connection.execute(table_script(warehouse, tables, contents, comments=comments, place=place))


def table_script(
    warehouse: Warehouse | None,
    tables: Iterable[Table],
    contents: Mapping[str, Contents],
    *,
    comments: bool,
    place: Place | None = None,
) -> str:
    """The statements of ``create_tables``."""
    place = place or (Place(quoted_text) if warehouse is None else place_of(warehouse))
    script = [
        statement
        for table in tables
        for statement in _table_view(warehouse, table, contents[table.name], place, comments=comments)
    ]
    # One transaction: each statement of its own would be flushed to the disk when the catalog is published.
    return ";\n".join(["begin", *script, "commit"])


def _table_view(
    warehouse: Warehouse | None, table: Table, contents: Contents, place: Place, *, comments: bool
) -> Iterable[str]:
    paths, problem = contents.paths, contents.problem
    residual = _residual_type(warehouse, paths) if table.name == "activations" and problem is None else "FLOAT[]"
    types = {c.name: residual if c.type is None else duckdb_type(c.type) for c in table.columns}
    if problem is not None or not paths:
        # The error stands in the FROM clause, so that it is raised whichever columns are asked for; columns are made of
        # it, as a comparison with a constant NULL would let DuckDB answer without looking.
        value = "null" if problem is None else "e"
        columns = ", ".join(f"cast({value} as {type_}) as {quoted_name(name)}" for name, type_ in types.items())
        source = (
            "(select 1) where false"
            if problem is None
            else f"(select error({quoted_text(problem)})::varchar e) where e is null"
        )
        selects = [f"select {columns} from {source}"]
    else:
        kept = {
            n: f"{quoted_name(n)}::{t} as {quoted_name(n)}" if n == "residual" else quoted_name(n)
            for n, t in types.items()
        }
        absent = {n: f"null::{types[n]} as {quoted_name(n)}" for n in ADDED_LATER if n in types}
        older = [path for path in paths if path in contents.older]
        selects = [
            f"select {', '.join(columns.values())} from {table_rows(table, types, files, place)}"
            for columns, files in ((kept, [p for p in paths if p not in contents.older]), (kept | absent, older))
            if files
        ]
    yield f"create or replace view {quoted_name(table.name)} as {' union all '.join(selects)}"
    if not comments:
        return
    yield f"comment on view {quoted_name(table.name)} is {quoted_text('one row: ' + table.meaning)}"
    for column in table.columns:
        yield f"comment on column {quoted_name(table.name)}.{quoted_name(column.name)} is {quoted_text(_comment(column))}"


def _comment(column: Column) -> str:
    return f"{column.meaning} [{column.unit}]" if column.unit else column.meaning


def _residual_type(warehouse: Warehouse | None, paths: list[str]) -> str:
    """FLOAT[d] if all collections share one d_model (Parquet itself does not keep the width), else FLOAT[]."""
    widths = set()
    if warehouse is None:
        return "FLOAT[]"
    for path in {path.split("/")[1]: path for path in paths}.values():
        try:
            widths.add(pq.read_schema(warehouse.storage.open(path)).field("residual").type.list_size)
        except (pa.ArrowException, OSError, KeyError, AttributeError):
            return "FLOAT[]"
    return f"FLOAT[{widths.pop()}]" if len(widths) == 1 else "FLOAT[]"
