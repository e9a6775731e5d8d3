"""The SQL page: what a statement gives, what it may not do, and what is taken away."""

import io
import re
from pathlib import Path

import polars as pl
import pytest

import dashboards
import warehouse
from dashboards.views.sql.page import MEMORY, QUESTIONS, SHOWN_ROWS, START, result_file
from tests.dashboards.opened_pages import open_page, read_page
from warehouse.catalog.statement_worker import StatementWorker

MAP = "select source_layer, target_layer, method, mean_r2 from transport_map order by all"


@pytest.fixture(scope="module")
def process(study_root):
    """The visitors' process, shared: each start takes a second."""
    found = StatementWorker(study_root, MEMORY)
    yield found
    found.stop()


@pytest.fixture
def study(study, process, monkeypatch):
    """The small study, asked through the shared process."""
    monkeypatch.setattr("dashboards.views.sql.page.worker", lambda: process)
    return study


def shown(app):
    """The result table: the last on the page, after the columns of a table."""
    return app.dataframe[-1].value


def test_it_starts_with_a_list_of_all_tables_and_marts(study):
    app = read_page("sql_bench")
    assert app.text_area(key="sql").value == START
    assert set(shown(app)["table_name"]) >= {"operators", "feature_transport", "transport_map", "stage_runs"}


def test_the_page_stands_before_a_process_for_statements_does(study, process, monkeypatch):
    asked = []
    monkeypatch.setattr(process, "run", lambda *_, **__: pytest.fail("the page waits for the process"))
    monkeypatch.setattr(process, "prepare", lambda: asked.append("to start meanwhile"))
    app = open_page("sql_bench")
    assert not shown(app).empty
    assert asked == ["to start meanwhile"]


def test_the_statement_of_the_address_is_run_as_it_stands(study):
    app = read_page("sql_bench", sql=MAP)
    expected = warehouse.run_select(warehouse.connect(), MAP).pl()
    assert app.text_area(key="sql").value == MAP
    assert pl.from_pandas(shown(app)).equals(expected)


def test_what_is_typed_stands_in_the_address(study):
    app = open_page("sql_bench")
    app.text_area(key="sql").input("select 42 as answer").run()
    assert app.query_params["sql"] == "select 42 as answer"
    assert list(shown(app)["answer"]) == [42]


def test_every_saved_statement_runs_and_is_about_the_chosen_collection(study):
    app = open_page("sql_bench")
    options = app.selectbox(key="saved").options
    assert len(options) == len(QUESTIONS) + len(
        set(warehouse.connect().sql("select table_name from catalog").pl()["table_name"])
    )
    mart = next(option for option in options if option.startswith("transport_map: "))
    app.selectbox(key="saved").set_value(mart).run()
    collection = app.session_state["collection"]
    assert app.text_area(key="sql").value == f"from transport_map\nwhere collection = '{collection}'"
    assert app.query_params["sql"] == app.text_area(key="sql").value
    assert set(shown(app)["collection"]) == {collection}
    assert not app.error


@pytest.mark.parametrize("question", QUESTIONS)
def test_examples_are_those_of_the_readme(study, question):
    readme = Path(dashboards.__file__).parents[1].joinpath("README.md").read_text(encoding="utf-8")
    assert " ".join(QUESTIONS[question].split()) in " ".join(readme.split())
    assert warehouse.run_select(warehouse.connect(), QUESTIONS[question]) is not None


WRONG = {
    "select mean_r3 from transport_map": 'no column "mean_r3": did you mean "mean_r2"?',
    "from read_text('/etc/passwd')": "access to files",
    "drop view operators": "only read-only statements",
    "select 1; select 2": "expected one SQL statement, got 2",
    "select length(printf('%2000000000d', 1))": "the statement exceeds its memory limit of 2 GB",
    "select repeat('x', 1000000) from range(100)": "the result has 100 MB, more than 16 MB",
}


def test_a_wrong_statement_is_one_line_and_the_page_stays(study):
    app = open_page("sql_bench")
    for sql, said in WRONG.items():
        app.text_area(key="sql").input(sql).run()
        assert len(app.error) == 1
        assert app.error[0].value.startswith(said)
    app.text_area(key="sql").input("select 1 as one").run()
    assert not app.error
    assert list(shown(app)["one"]) == [1]


def test_the_browser_gets_a_thousand_rows_and_a_download_all(study, process):
    sql = "select range as i from range(2500)"
    app = read_page("sql_bench", sql=sql)
    assert len(shown(app)) == SHOWN_ROWS
    assert any("First 1,000 rows" in text.value for text in app.markdown)
    assert pl.read_parquet(io.BytesIO(result_file(process, sql, "parquet")))["i"].to_list() == list(range(2500))
    assert pl.read_csv(result_file(process, sql, "csv"))["i"].to_list() == list(range(2500))


def test_tables_with_lists_and_maps_can_be_taken_away(study, process):
    expected = warehouse.run_select(warehouse.connect(), "from collections").pl()
    assert pl.read_parquet(io.BytesIO(result_file(process, "from collections", "parquet"))).equals(expected)
    assert pl.read_csv(result_file(process, "from collections", "csv"))["layers"].to_list() == [
        re.sub(r"\s", "", str(layers.to_list())) for layers in expected["layers"]
    ]


def test_the_chart_is_of_the_columns_in_the_address(study):
    app = read_page("sql_bench", sql=MAP, x="target_layer", y="mean_r2", colour="method", mark="line")
    assert [app.selectbox(key=key).value for key in ("x", "y", "colour", "mark")] == [
        "target_layer",
        "mean_r2",
        "method",
        "line",
    ]
    assert "Chart" in [tab.label for tab in app.tabs]


def test_what_cannot_be_drawn_says_so(study):
    app = open_page("sql_bench")
    for sql in ("select method from operators", "from operators where false", "select [1] as a, {'b': 2} as s", " "):
        app.text_area(key="sql").input(sql).run()
        assert len(app.info) == 1


def test_an_empty_warehouse_can_be_asked_too(empty):
    app = read_page("sql_bench", sql="select count(*) as n from operators")
    assert list(shown(app)["n"]) == [0]


def test_columns_of_a_table_follow_the_address(study):
    app = read_page("sql_bench", table="operator_cv")
    assert {"alpha", "fold", "r2"} <= set(app.dataframe[0].value["column_name"])


def test_an_error_is_text_and_no_image_link_or_formula_of_whoever_wrote_the_address(study):
    hostile = "![x](http://evil.example/x.png) $x$ [a](http://evil.example)"
    app = open_page("sql_bench", sql=f'select "{hostile}" from operators')
    (error,) = app.error
    assert r"!\[x\](http" in error.value
    assert re.search(r"(?<!\\)[\[\]$<]", error.value) is None
    app.text_area(key="sql").input(f'select 1 as "{hostile}" where false').run()
    (info,) = app.info
    assert re.search(r"(?<!\\)[\[\]$<]", info.value) is None
