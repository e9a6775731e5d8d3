"""CSV and Parquet files: all rows come back as they were, and what they show is said where readers look for it."""

import io
import json
from datetime import date

import duckdb
import pandas as pd
import polars as pl
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st

from warehouse.exports.about import About, file_stem, sizes
from warehouse.exports.tables import csv_file, csv_metadata, parquet_file

ABOUT = About("Title, é", "A caption.", "2 rows", "select 'α'\nfrom x", "c-1", date(2026, 1, 2))
FLOATS = st.floats(allow_nan=False, allow_infinity=False) | st.none()
FRAMES = st.lists(st.tuples(st.integers(-(2**62), 2**62), FLOATS, st.text() | st.none()), min_size=1).map(
    lambda rows: pl.DataFrame(rows, schema={"n": pl.Int64, "x": pl.Float64, "word": pl.String}, orient="row")
)


@given(FRAMES)
def test_parquet_gives_back_every_row_with_its_description(rows):
    found = pq.read_table(io.BytesIO(parquet_file(rows, ABOUT)))
    assert found.to_pylist() == rows.to_dicts()
    told = {key.decode(): value.decode() for key, value in found.schema.metadata.items()}
    assert told.items() >= ABOUT.fields().items()
    assert told["statement"] == ABOUT.sql


@given(FRAMES)
def test_csv_gives_back_every_row(rows):
    found = pl.read_csv(io.BytesIO(csv_file(rows)), schema=rows.schema)
    empty = pl.col("word").fill_null("")
    assert found.with_columns(empty).equals(rows.with_columns(empty))


def test_csv_is_read_by_all_without_options(tmp_path):
    rows = pl.DataFrame({"x": [0.1, None], "tokens": [["a", None], []], "m": [{"k": 1.5}, None]})
    path = tmp_path / "rows.csv"
    path.write_bytes(csv_file(rows))
    assert pd.read_csv(path)["x"].dropna().to_list() == [0.1]
    assert duckdb.sql(f"select x, tokens from '{path}'").fetchall() == [(0.1, '["a", null]'), (None, "[]")]
    assert path.read_text().splitlines()[0] == "x,tokens,m"


def test_what_stands_beside_a_csv_file_describes_it():
    rows = pl.DataFrame({"n": [1], "x": [0.5], "ok": [True], "day": [date(2026, 1, 1)], "l": [[1]]})
    found = json.loads(csv_metadata(rows, ABOUT, "rows.csv"))
    assert (found["@context"], found["url"]) == ("http://www.w3.org/ns/csvw", "rows.csv")
    assert (found["dc:title"], found["dc:source"], found["dc:extent"]) == (ABOUT.title, ABOUT.sql, ABOUT.n)
    kinds = {column["name"]: column["datatype"] for column in found["tableSchema"]["columns"]}
    assert kinds == {"n": "integer", "x": "double", "ok": "boolean", "day": "date", "l": "json"}


def test_sizes_are_the_extents_of_the_counts():
    rows = pl.DataFrame(
        {"n_tokens": [5, 1200, None], "n_none": [None, None, None], "n_share": [0.5, 1.0, 2.0], "leap": [1, 2, 3]}
    )
    assert sizes(rows) == "3 rows; n_tokens 5 to 1,200"
    assert sizes(rows.head(1)) == "1 row; n_tokens 5"


def test_names_of_files_are_plain():
    assert file_stem("Cost of each intervention, layer 4 → 8: r²") == "cost-of-each-intervention-layer-4-8-r2"
    assert file_stem("→") == "export"
