"""The frame of all pages: choices that follow the address, errors on one line, SQL that holds what was chosen."""

from datetime import timedelta
from shutil import copytree

import duckdb
import pytest

from dashboards.ui.navigation import PAGES
from dashboards.ui.reading import filled, literal
from tests.dashboards.opened_pages import open_page, panels
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, commit_stage, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


@pytest.mark.parametrize("name", [name for name in PAGES if name != "sql_bench"])
def test_an_empty_warehouse_gives_each_page_a_word_on_how_to_fill_it(empty, name):
    app = open_page(name)
    assert "make run" in app.info[0].value
    assert not panels(app)
    assert not app.error


@pytest.mark.parametrize("name", [name for name in PAGES if name != "sql_bench"])
def test_a_collection_that_nothing_was_made_from_gives_each_page_something_to_say(empty, name):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page(name)
    assert not app.error
    assert app.info or panels(app)


@pytest.mark.parametrize("name", PAGES)
def test_each_page_opens_on_the_whole_study_without_an_error(study, name):
    app = open_page(name)
    assert not app.error
    assert app.title[0].value == PAGES[name][0]


def test_a_damaged_file_is_one_line_and_hides_only_what_needs_it(tmp_path, study_root, monkeypatch):
    root = copytree(study_root, tmp_path / "damaged")
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    file = min((root / "sae_training").rglob("*.parquet"))
    file.write_bytes(file.read_bytes()[:-8])
    app = open_page("saes")
    (error,) = {found.value for found in app.error}
    assert "\n" not in error
    assert file.name in error
    assert "run the same command again" in error
    assert len(app.error) < len(app.subheader)


def test_the_collection_follows_the_address_and_stays_from_page_to_page(study):
    assert open_page("overview").session_state["collection"] == COLLECTION
    assert open_page("saes", collection=COLLECTION).session_state["collection"] == COLLECTION
    app = open_page("saes", collection="of another warehouse")
    assert app.session_state["collection"] == COLLECTION, "a link from elsewhere is no error"


def test_an_older_collection_can_be_chosen_by_address(empty):
    warehouse = Warehouse(empty)
    for days, name in enumerate(("older", "newer")):
        rows = [
            r | {"collection": name, "created_at": STARTED + timedelta(days)} for r in collect_rows()["collections"]
        ]
        file = warehouse.write_rows("collections", rows, "k", collection=name)
        commit(warehouse, "collect", name, collection=name, settings={}, files=[file], started_at=STARTED, seconds=1.0)
    assert open_page("overview").session_state["collection"] == "newer"
    app = open_page("overview", collection="older")
    assert app.session_state["collection"] == "older"
    app = app.selectbox(key="collection").set_value("newer").run()
    assert app.query_params["collection"] == "newer", "a choice can be shared by its address"


@pytest.mark.parametrize(
    "value",
    ["plain", "it's", "''", "'; drop table saes; --", "back\\slash", "new\nline", "$other", 3, -1.5, 1e-9, True, None],
)
def test_a_filled_in_value_reads_back_as_itself(value):
    ((found, beside),) = duckdb.sql(filled("select $value as v, $other as w", value=value, other="b")).fetchall()
    assert found == (value if not isinstance(value, float) else pytest.approx(value))
    assert beside == "b", "a value is never taken for a placeholder"


def test_lists_fill_an_in_and_an_empty_one_matches_nothing():
    for values, expected in (([1, 3], [1, 3]), ([], []), (["a'b"], [])):
        found = duckdb.sql(
            filled("select * from range(5) as t(i) where i::varchar in $some", some=[str(v) for v in values])
        )
        assert [i for (i,) in found.fetchall()] == expected
    assert literal((1, "a'b")) == "(1, 'a''b')"
