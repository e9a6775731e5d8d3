"""Files as SQL sources: no character of a path is a pattern, and no folder above a table is a partition."""

import duckdb
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from warehouse.catalog.catalog import duckdb_type
from warehouse.catalog.sources import Place, literal_pattern, settings, table_rows
from warehouse.tables import TABLES

NAMES = {
    "q?x": "qax",
    "st*r": "star",
    "**": "zz",
    "[a-c]": "b",
    "[!x]": "b",
    "{a,b}": "a",
    "[": "x",
    "]": "x",
    "it's": "its",
    "new\nline": "new line",
    "50%20": "50 ",
    "a#b;c:d,e": "a",
    "é": "e",
    "-": "x",
    "~": "x",
    "collection=other": "x",
    "layer=12": "x",
    "norm=7": "x",
}
"""Folder -> another one, whose file a reader must not find instead."""


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("limited", [False, True])
def test_the_rows_are_those_of_the_named_file_and_the_keys_those_of_its_last_folders(name, limited, tmp_path):
    path, table = "activations/collection=c/layer=3/part-x.parquet", TABLES["activations"]
    for folder, value in ((name, 1.0), (NAMES[name], 2.0)):
        file = tmp_path / folder / path
        file.parent.mkdir(parents=True)
        pq.write_table(pa.table({"norm": [value]}), file)
    root = str(tmp_path / name)
    types = {c.name: duckdb_type(c.type) for c in table.columns if c.type is not None}
    place = Place(lambda p: "'" + literal_pattern(f"{root}/{p}").replace("'", "''") + "'")
    with duckdb.connect(config=settings()) as connection:
        if limited:
            allowed = [[root, literal_pattern(root)]]
            connection.execute("set allowed_directories = ?", allowed)
            connection.execute("set enable_external_access = false")
        found = connection.sql(f"select norm, collection, layer from {table_rows(table, types, [path], place)}")
        assert [str(kind) for kind in found.types] == ["DOUBLE", "VARCHAR", "INTEGER"]
        assert found.fetchall() == [(1.0, "c", 3)]


def test_a_query_that_names_a_partition_opens_the_files_of_that_partition_only(tmp_path):
    table = TABLES["activations"]
    paths = [f"activations/collection=c/layer={layer}/part-x.parquet" for layer in range(4)]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True)
        pq.write_table(pa.table({"norm": [1.0]}), tmp_path / path)
    types = {c.name: duckdb_type(c.type) for c in table.columns if c.type is not None}
    source = table_rows(table, types, paths, Place(lambda path: f"'{tmp_path}/{path}'"))
    with duckdb.connect(config=settings()) as connection:
        plan = connection.execute(
            f"explain analyze select * from {source} where layer = 2 and collection = 'c'"
        ).fetchall()
    assert "Scanning Files: 1/4" in plan[0][1]
