"""A table of many rows is sent a page at a time, in the order of all its rows."""

import io

import polars as pl
import pyarrow as pa
import pytest
from streamlit.testing.v1 import AppTest

from dashboards.ui.paged import PAGE_ROWS

N = 2 * PAGE_ROWS + 3
SCRIPT = """import polars as pl
from dashboards.ui.paged import paged
places = pl.Series("place", range({n}))
score = pl.Series("score", [None if i % 7 == 0 else (i * 37) % {n} for i in range({n})])
paged(pl.DataFrame([places, score]), "table", lambda number: None, titles={{"score": "score"}})"""


def opened(n):
    app = AppTest.from_string(SCRIPT.format(n=n)).run()
    assert not app.exception
    return app


def places(app):
    sent = pa.ipc.open_stream(io.BytesIO(app.dataframe[0].proto.arrow_data.data)).read_all()
    return sent["place"].to_pylist()


def test_a_table_that_fits_a_page_is_sent_whole_without_fields():
    app = opened(PAGE_ROWS)
    assert places(app) == list(range(PAGE_ROWS))
    assert not app.selectbox


def test_a_longer_one_is_sent_a_page_at_a_time_as_listed():
    app = opened(N)
    assert places(app) == list(range(PAGE_ROWS))
    assert f"of {N:,}" in app.caption[0].value


@pytest.mark.parametrize("down", [True, False])
def test_an_order_is_that_of_all_rows_and_null_comes_last(down):
    app = opened(N)
    app.selectbox[0].set_value("score").run()
    app.toggle[0].set_value(down).run()
    rows = pl.DataFrame({"place": range(N), "score": [None if i % 7 == 0 else (i * 37) % N for i in range(N)]})
    expected = rows.sort("score", descending=down, nulls_last=True)["place"].to_list()
    assert places(app) == expected[:PAGE_ROWS]
    app.session_state["page of table"] = 3
    assert set(places(app.run())) <= set(rows.filter(pl.col("score").is_null())["place"])
