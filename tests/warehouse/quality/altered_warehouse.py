"""Warehouses with one thing wrong, and what the checks say of them."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tests.warehouse.small_warehouse import (
    COLLECTION,
    collect_rows,
    commit_stage,
    write,
    write_activations,
)
from warehouse.quality.checks import check_stages, failures
from warehouse.storage.warehouse import Warehouse

PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}


def failed(found):
    """(table, expectation, column) of what failed."""
    return {(r["table_name"], r["expectation"], r["column_name"]) for r in failures(found)}


def examples(found):
    """The offending keys of the only failure."""
    (only,) = failures(found)
    return json.loads(only["examples"])


def checked(warehouse, tables, more=()):
    """Rows of ``check_stages`` on freshly written tables."""
    return check_stages(warehouse, [("stage", "key")], COLLECTION, [*write(warehouse, tables), *more])


def collected(root):
    """A warehouse whose collect stage is complete."""
    warehouse = Warehouse(root)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()) + write_activations(warehouse))
    return warehouse


def rewrite(warehouse, path, change):
    """Replace a stored Parquet file by what ``change`` makes of its table."""
    file = Path(warehouse.root, path)
    table = pq.ParquetFile(file).read()
    pq.write_table(change(table), file)


def put(table, name, row_number, value):
    """The table with one value of a column replaced."""
    values = table.column(name).to_pylist()
    values[row_number] = value
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))
