"""Checks rows against the declared table and encodes them as Parquet."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ato.errors import DataError, NonFiniteError
from warehouse.tables import Column, Table

Rows: TypeAlias = pa.Table | Mapping[str, Any] | Sequence[Mapping[str, Any]]
"""Rows to write: an Arrow table, a mapping of columns, or a list of rows."""

SORT_LIMIT = 1_000_000
"""Tables of at most this many rows are sorted by their key, so that equal rows give equal files."""


def null_where_nan(values: Any) -> pa.Array:
    """Floats [n] with every NaN replaced by NULL ("not measured"); infinity stays."""
    return pa.array(np.asarray(values, dtype=np.float64), from_pandas=True)


def null_where(values: Any, absent: Any) -> pa.Array:
    """Values [n] with NULL wherever the boolean array ``absent`` [n] is true."""
    return pa.array(np.asarray(values), mask=np.asarray(absent, dtype=bool), from_pandas=False)


def residual_type(d: int) -> pa.DataType:
    """Arrow type of a residual: a fixed-size list of d float32, none of them NULL."""
    return pa.list_(pa.field("element", pa.float32(), nullable=False), d)


def to_table(table: Table, rows: Rows, partition: Mapping[str, Any]) -> pa.Table:
    """Rows as an Arrow table of exactly the declared columns (without those of the partition), sorted by key.

    Args:
        rows: columns or rows; integers of any width are cast safely, None is NULL, NaN is refused.
        partition: value of each partition column; columns of that name in ``rows`` must hold this value.

    Raises:
        DataError: a column is missing, unknown or of the wrong type, or NULL where a value is expected.
        NonFiniteError: NaN or infinity; names table, column and the row's key.
    """
    values = _columns(table, rows)
    _check_names(table, values, partition)
    for name, value in partition.items():
        if name in values:
            _check_constant(table, name, _to_array(table, table.column(name), values.pop(name)), value)
    stored = [c for c in table.columns if c.name not in partition]
    arrays = [_to_array(table, column, values[column.name]) for column in stored]
    if len({len(a) for a in arrays}) > 1:
        lengths = {c.name: len(a) for c, a in zip(stored, arrays)}
        raise DataError(f"columns differ in length: {lengths}", where=f"table {table.name}")
    fields = [pa.field(c.name, a.type, nullable=c.nullable) for c, a in zip(stored, arrays)]
    data = pa.Table.from_arrays(arrays, schema=pa.schema(fields))
    for column in stored:
        _check_values(table, column, data, partition)
    keys = [(name, "ascending") for name in table.key if name not in partition]
    if table.name != "activations" and keys and data.num_rows <= SORT_LIMIT:
        data = data.sort_by(keys)
    return data


def write_parquet(table: Table, data: pa.Table, path: Path | pa.NativeFile) -> None:
    """Write a table to a local file: equal tables give equal bytes.

    Residuals are stored plain, in one row group and one page: contiguous, and 1.5 times as fast to read.
    """
    options: dict[str, Any] = {"compression": "zstd", "row_group_size": 122_880}
    if table.name == "activations":
        options = {
            "compression": "none",
            "use_dictionary": False,
            "write_statistics": [name for name in table.key if name not in table.partition],
            "row_group_size": max(1, data.num_rows),
            "data_page_size": 1 << 30,
        }
    pq.write_table(data, path, **options)


def _columns(table: Table, rows: Rows) -> dict[str, Any]:
    if isinstance(rows, pa.Table):
        return dict(zip(rows.column_names, rows.columns))
    if isinstance(rows, Mapping):
        return dict(rows)
    if not rows:
        return {c.name: pa.array([], c.type) for c in table.columns if c.type is not None}
    names = rows[0].keys()
    for number, row in enumerate(rows):
        if row.keys() != names:
            differing = sorted(row.keys() ^ names)
            raise DataError(f"row {number} and row 0 differ in columns {differing}", where=f"table {table.name}")
    return {name: [row[name] for row in rows] for name in names}


def _check_names(table: Table, values: Mapping[str, Any], partition: Mapping[str, Any]) -> None:
    if set(partition) != set(table.partition):
        raise DataError(
            f"partition is {sorted(partition)}, expected {list(table.partition)}", where=f"table {table.name}"
        )
    declared = {c.name for c in table.columns}
    if unknown := sorted(values.keys() - declared):
        raise DataError(
            f"unknown columns {unknown}", where=f"table {table.name}", cure="declare them in warehouse/tables"
        )
    if missing := sorted(declared - values.keys() - partition.keys()):
        raise DataError(
            f"missing columns {missing}", where=f"table {table.name}", cure="write None where there is no value"
        )


def _kind(type_: pa.DataType) -> str:
    """The kind of a type; only types of one kind are converted (Arrow would also parse strings)."""
    if pa.types.is_integer(type_) or pa.types.is_floating(type_):
        return "number"
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        return f"list of {_kind(type_.value_type)}"
    return "string" if pa.types.is_large_string(type_) else str(type_)


def _to_array(table: Table, column: Column, values: Any) -> pa.Array:
    """One column as a contiguous Arrow array of the declared type; zero-copy where possible."""
    if hasattr(values, "detach"):
        values = values.detach().cpu().numpy()
    try:
        if column.type is None:
            return _residuals(_in_one_piece(values))
        if not isinstance(values, (pa.Array, pa.ChunkedArray)):
            values = _infer(column.type, values)
        array = _in_one_piece(values)
        if array.type == column.type:
            return array
        if _kind(array.type) != _kind(column.type) and "null" not in _kind(array.type):
            raise pa.ArrowTypeError(f"{array.type} given")
        return array.cast(column.type, safe=True)
    except (pa.ArrowException, ValueError, TypeError, OverflowError) as error:
        expected = column.type or "fixed-size list of float32"
        raise DataError(f"column {column.name} is not {expected}: {error}", where=f"table {table.name}") from error


def _infer(declared: pa.DataType, values: Any) -> pa.Array:
    """Values as an array of their inferred type: with a given type, Arrow would silently truncate 2.5 to 2."""
    if pa.types.is_map(declared):
        return pa.array([sorted(v.items()) if isinstance(v, Mapping) else v for v in values], declared)
    if pa.types.is_timestamp(declared) or (pa.types.is_list(declared) and pa.types.is_struct(declared.value_type)):
        return pa.array(values, declared, from_pandas=False)
    return pa.array(values, from_pandas=False)


def _in_one_piece(values: Any) -> Any:
    if isinstance(values, pa.ChunkedArray):
        return values.chunk(0) if values.num_chunks == 1 else values.combine_chunks()
    return values


def _residuals(values: Any) -> pa.Array:
    if isinstance(values, pa.FixedSizeListArray):
        if values.null_count:
            raise ValueError("NULL residual")
        d, flat = values.type.list_size, values.flatten()
    else:
        d, flat = np.shape(values)[1], pa.array(np.asarray(values).reshape(-1), from_pandas=False)
    if flat.type != pa.float32():
        raise TypeError(f"list of {flat.type} given")
    return pa.FixedSizeListArray.from_arrays(flat, type=residual_type(d))


def _check_constant(table: Table, name: str, array: pa.Array, value: Any) -> None:
    others = [v for v in pc.unique(array).to_pylist() if v != value]
    if others:
        raise DataError(
            f"column {name} holds {others[:3]} in the partition {name}={value}", where=f"table {table.name}"
        )


def _check_values(table: Table, column: Column, data: pa.Table, partition: Mapping[str, Any]) -> None:
    """Refuse undeclared NULL, and NaN or infinity anywhere, lists included."""
    array = data.column(column.name).chunk(0)
    if array.null_count and not column.nullable:
        row = int(np.flatnonzero(array.is_null().to_numpy(zero_copy_only=False))[0])
        where = f"table {table.name}, {_row_key(table, data, row, partition)}"
        raise DataError(f"column {column.name} is NULL", where=where)
    is_list = pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type)
    values = array.flatten() if is_list else array
    if is_list or pa.types.is_map(array.type):
        _check_lists(table, column, data, partition)
    if not pa.types.is_floating(values.type):
        return
    numbers = (values.fill_null(0) if values.null_count else values).to_numpy(zero_copy_only=False)
    with np.errstate(invalid="ignore", over="ignore"):
        if np.isfinite(numbers.sum()):  # one pass without a mask; a sum that overflows only costs the exact check
            return
    if len(places := np.flatnonzero(~np.isfinite(numbers))):
        rows = pc.list_parent_indices(array) if is_list else pa.array(np.arange(len(array)))
        row = rows[int(places[0])].as_py()
        raise NonFiniteError(
            f"column {column.name} is NaN or infinite",
            where=f"table {table.name}, {_row_key(table, data, row, partition)}",
            cure="write NULL where nothing was measured" if column.nullable else None,
        )


def _check_lists(table: Table, column: Column, data: pa.Table, partition: Mapping[str, Any]) -> None:
    """Refuse NULL inside lists and maps, and lists that differ in length from those they belong to."""
    array = data.column(column.name).chunk(0)
    row, problem = None, ""
    if pa.types.is_map(array.type):
        if array.items.null_count:
            row, problem = (
                next(i for i, pairs in enumerate(array.to_pylist()) if any(v is None for _, v in pairs or ())),
                "NULL",
            )
    elif array.flatten().null_count:
        parents = pc.list_parent_indices(array)
        row, problem = (
            parents[int(np.flatnonzero(array.flatten().is_null().to_numpy(zero_copy_only=False))[0])].as_py(),
            "NULL",
        )
    elif column.as_long_as is not None:
        other = data.column(column.as_long_as).chunk(0)
        apart = pc.fill_null(pc.not_equal(pc.list_value_length(array), pc.list_value_length(other)), False)
        if pc.any(apart).as_py():
            row, problem = int(np.flatnonzero(apart.to_numpy(zero_copy_only=False))[0]), "length"
    if row is None:
        return
    where = f"table {table.name}, {_row_key(table, data, row, partition)}"
    if problem == "NULL":
        raise DataError(f"column {column.name} holds NULL in its list", where=where)
    raise DataError(f"column {column.name} differs in length from {column.as_long_as}", where=where)


def _row_key(table: Table, data: pa.Table, row: int, partition: Mapping[str, Any]) -> str:
    values = {name: partition[name] if name in partition else data.column(name)[row].as_py() for name in table.key}
    return ", ".join(f"{name}={value}" for name, value in values.items())
