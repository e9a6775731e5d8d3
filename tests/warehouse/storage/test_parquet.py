"""Rows become Parquet files of the declared types, or are refused with table, column and key."""

import hashlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ato.errors import DataError, InputError, NonFiniteError
from tests.warehouse import small_warehouse
from tests.warehouse.storage.training_files import files_below, write_training
from warehouse.storage.parquet import null_where, null_where_nan
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES


def test_file_has_the_declared_types_and_is_described_by_its_record(store, training_rows):
    record = write_training(store, training_rows(n=3))
    path = Path(store.root, record.path)
    assert record.path == "sae_training/collection=c/sae=s/part-k.parquet"
    assert (record.rows, record.bytes) == (3, path.stat().st_size)
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    schema = pq.ParquetFile(path).schema_arrow
    declared = [c for c in TABLES["sae_training"].columns if c.name not in ("collection", "sae")]
    assert [(f.name, f.type, f.nullable) for f in schema] == [(c.name, c.type, c.nullable) for c in declared]


def test_equal_rows_give_equal_bytes_whatever_their_order_and_container(store, training_rows):
    columns = training_rows(n=5)
    as_lists = {name: np.asarray(values).tolist() for name, values in columns.items()}
    as_rows = [dict(zip(as_lists, row)) for row in zip(*as_lists.values())]
    hashes = {
        write_training(store, rows, part).sha256
        for part, rows in (("a", columns), ("b", pa.table(as_lists)), ("c", as_rows), ("d", as_rows[::-1]))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_table_column_and_key(store, training_rows, bad):
    with pytest.raises(NonFiniteError, match=r"mse .*sae_training, collection=c, sae=s, step=1\b"):
        write_training(store, training_rows(mse=[0.5, bad, 0.5]))
    assert not files_below(store)


def test_large_finite_values_are_not_taken_for_infinity(store, training_rows):
    assert write_training(store, training_rows(mse=[1.7e308] * 3)).rows == 3


def test_nan_becomes_null_only_by_explicit_conversion():
    assert null_where_nan(np.array([1.0, np.nan])).to_pylist() == [1.0, None]
    assert null_where(np.array([3, 4]), [True, False]).to_pylist() == [None, 4]
    rows = {"operator": ["o", "o"], "source_layer": [0, 0], "leap": [1, 1], "target_layer": [1, 1], "alpha": [1.0, 2.0]}
    rows |= {"method": ["ridge"] * 2, "l1_ratio": [None, None], "fold": [0, 0]}
    with pytest.raises(NonFiniteError, match="column r2 "):
        Warehouse("unused").write_rows("operator_cv", rows | {"r2": [0.5, np.nan]}, "k", collection="c")


def test_null_is_refused_where_a_value_is_due(store, training_rows):
    with pytest.raises(DataError, match=r"column lr is NULL .*step=2"):
        write_training(store, training_rows(lr=[0.1, 0.1, None]))


LISTS = [
    (table.name, column.name)
    for table in TABLES.values()
    for column in table.columns
    if column.type is not None and (pa.types.is_list(column.type) or pa.types.is_map(column.type))
]
BESIDE = [(t.name, c.name, c.as_long_as) for t in TABLES.values() for c in t.columns if c.as_long_as is not None]


def one_of(type_):
    """A value of a type."""
    if pa.types.is_struct(type_):
        return {field.name: one_of(field.type) for field in type_}
    return "x" if pa.types.is_string(type_) else 1


def with_list(table, column, *values):
    """A row of a table with some values in a list, or under the keys of a map; lists that belong to it are as long."""
    declared = TABLES[table].column(column)
    value = [(str(i), v) for i, v in enumerate(values)] if pa.types.is_map(declared.type) else list(values)
    other = {name: [one_of(TABLES[table].column(name).type.value_type)] * len(values) for name in beside(table, column)}
    return small_warehouse.row(table, **{column: value}, **other)


def beside(table, column):
    """Lists of a table that are as long as one of them."""
    first = TABLES[table].column(column).as_long_as or column
    return {c.name for c in TABLES[table].columns if first in (c.name, c.as_long_as)} - {column}


def write_row(store, table, row):
    partition = {name: row[name] for name in TABLES[table].partition}
    return store.write_rows(table, [row], "k", **partition)


@pytest.mark.parametrize(("table", "column"), LISTS)
def test_null_inside_a_list_is_refused_in_every_table(store, table, column):
    kind = TABLES[table].column(column).type
    good = one_of(kind.item_type if pa.types.is_map(kind) else kind.value_type)
    assert write_row(store, table, with_list(table, column, good, good)).rows == 1
    with pytest.raises(DataError, match=rf"column {column} holds NULL in its list \(table {table}, "):
        write_row(store, table, with_list(table, column, good, None))


@pytest.mark.parametrize(("table", "column", "other"), BESIDE)
def test_lists_that_belong_together_have_the_same_length(store, table, column, other):
    value = one_of(TABLES[table].column(column).type.value_type)
    row = with_list(table, column, value, value)
    longer = {name: [one_of(TABLES[table].column(name).type.value_type)] * 3 for name in beside(table, column)}
    with pytest.raises(DataError, match=f"column {column} differs in length from {other}"):
        write_row(store, table, row | longer)


def test_missing_unknown_and_ragged_columns_are_refused(store, training_rows):
    rows = training_rows()
    with pytest.raises(DataError, match=r"missing columns \['lr'\]"):
        write_training(store, {name: v for name, v in rows.items() if name != "lr"})
    with pytest.raises(DataError, match=r"unknown columns \['speed'\]"):
        write_training(store, rows | {"speed": [1, 2, 3]})
    with pytest.raises(DataError, match="differ in length"):
        write_training(store, rows | {"lr": [0.1]})
    with pytest.raises(DataError, match="row 1 and row 0 differ"):
        write_training(store, [{"step": 1}, {"tokens": 2}])
    with pytest.raises(InputError, match="no table 'sae_trainings'"):
        store.write_rows("sae_trainings", rows, "k", collection="c")


@pytest.mark.parametrize(
    "step", [[0, 1, 2.5], np.array([0, 1, 2.5]), ["0", "1", "2"], np.array([0, 1, 2**63], np.uint64)]
)
def test_values_are_cast_only_where_nothing_is_lost(store, training_rows, step):
    assert write_training(store, training_rows(step=np.array([0, 1, 2], dtype=np.int16))).rows == 3
    with pytest.raises(DataError, match="column step is not int64"):
        write_training(store, training_rows(step=step))


def test_columns_of_the_partition_must_agree_with_it(store, training_rows):
    assert write_training(store, training_rows(sae=["s"] * 3)).rows == 3
    with pytest.raises(DataError, match="sae=s"):
        write_training(store, training_rows(sae=["s", "t", "s"]))
    with pytest.raises(DataError, match="partition is"):
        store.write_rows("sae_training", training_rows(), "k", collection="c")


def test_residuals_are_stored_plain_with_fixed_width(store):
    rows = {
        "sequence_id": [0, 0],
        "position": [0, 1],
        "token_id": [5, 6],
        "norm": [1.0, 1.0],
        "residual": torch.eye(2, 8),
    }
    record = store.write_rows("activations", rows, "00000", collection="c", layer=3)
    parquet = pq.ParquetFile(Path(store.root, record.path))
    kind = parquet.schema_arrow.field("residual").type
    chunk = parquet.metadata.row_group(0).column(4)
    assert (kind.list_size, kind.value_type, kind.value_field.nullable) == (8, pa.float32(), False)
    assert (chunk.path_in_schema, chunk.compression, chunk.statistics) == (
        "residual.list.element",
        "UNCOMPRESSED",
        None,
    )
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(chunk.encodings)
    with pytest.raises(DataError, match="residual is not"):
        store.write_rows("activations", rows | {"residual": torch.eye(2, 8).double()}, "1", collection="c", layer=3)
