"""Lists and notes on the pages: filters show what is on a list, changes are written and seen at once, or refused with a reason."""

import shutil

import pytest

from dashboards.ui import list_writer
from dashboards.ui.snapshot import Live
from tests.dashboards.opened_pages import check_numbers, messages, open_page, panels
from tests.dashboards.whole_study import STOPPING
from tests.tasks.reported_study import SAES
from tests.warehouse.label_rows import FEATURES, LAYER
from tests.warehouse.small_warehouse import COLLECTION
from warehouse.catalog.catalog import rows
from warehouse.lists import changes
from warehouse.lists.items import find_items
from warehouse.storage.warehouse import Warehouse

LIST = "carried $5"


@pytest.fixture
def own(study_root, tmp_path, monkeypatch):
    """A copy of the small study with a list of two features and an operator."""
    shutil.copytree(study_root, tmp_path / "warehouse")
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "warehouse"))
    store = Warehouse()
    (operator,) = rows(store, "select operator from operators where method = 'ridge' order by operator limit 1")
    names = [f"{SAES[6]}/{STOPPING}", f"{SAES[4]}/{FEATURES[0]}", operator["operator"]]
    changes.add(store, LIST, find_items(store, COLLECTION, names))
    return store


def on_lists(store, sae, feature):
    found = rows(store, "select list from list_members where sae = ? and feature_id = ? order by list", [sae, feature])
    return [row["list"] for row in found]


def test_the_search_shows_what_is_on_a_list(own):
    app = open_page("features", list=LIST)
    shown = check_numbers(app)["Features by score"].rows
    assert {tuple(row) for row in shown.select("sae", "feature_id").iter_rows()} == {
        (SAES[6], STOPPING),
        (SAES[4], FEATURES[0]),
    }


@pytest.mark.parametrize("text", [f"{SAES[6]}/{STOPPING}", f"6/{STOPPING}", f"L6/{STOPPING}"])
def test_a_feature_is_found_by_its_full_name_in_the_one_field(own, text):
    assert f"Feature {STOPPING} of {SAES[6]}" in check_numbers(open_page("features", search=text))


def test_labels_operators_and_the_map_show_what_is_on_a_list(own):
    labelled = check_numbers(open_page("labels", list=LIST, layer=LAYER))["Labelled features"].rows
    assert labelled["feature_id"].to_list() == [FEATURES[0]]
    mapped = check_numbers(open_page("transport", list=LIST))["Features on the list"].rows
    assert {tuple(row) for row in mapped.select("sae", "feature_id").iter_rows()} <= {
        (SAES[6], STOPPING),
        (SAES[4], FEATURES[0]),
    }
    assert STOPPING in mapped["feature_id"].to_list()
    app = open_page("operators", operators_list=LIST)
    assert all(len(app.selectbox(key=key).options) == 1 for key in ("source_layer", "target_layer"))
    features = check_numbers(open_page("operators", source_layer=4, target_layer=6, list=LIST))["Features"].rows
    assert features["feature_id"].to_list() == [STOPPING]


def test_a_feature_is_put_on_a_list_and_taken_off_and_the_page_says_so_at_once(own):
    app = open_page("features", sae=SAES[4], feature_id=3)
    key = f"lists of {SAES[4]}/3"
    app.multiselect(key=key).set_value([LIST]).run()
    assert on_lists(own, SAES[4], 3) == [LIST]
    assert app.multiselect(key=key).value == [LIST]
    app.multiselect(key=key).set_value([]).run()
    assert on_lists(own, SAES[4], 3) == []
    assert app.multiselect(key=key).value == []


def test_a_note_is_written_shown_and_removed(own):
    app = open_page("features", sae=SAES[4], feature_id=3)
    app.text_area(key=f"new note on {SAES[4]}/3").set_value("<b>fires</b> on $5")
    (button,) = [one for one in app.button if one.label == "Add note"]
    button.click().run()
    assert check_numbers(app)["Notes"].rows["text"].to_list() == ["<b>fires</b> on $5"]
    (button,) = [one for one in app.button if str(one.key).startswith("remove note")]
    button.click().run()
    assert panels(app)["Notes"].rows.is_empty()
    assert rows(own, "from notes") == []


def test_a_read_only_warehouse_is_told_and_nothing_is_offered(own, monkeypatch):
    monkeypatch.setenv("ATO_READ_ONLY", "1")
    app = open_page("features", sae=SAES[4], feature_id=3)
    assert any("read-only here" in text for text in messages(app))
    assert not app.multiselect
    assert not [one for one in app.button if one.label == "Add note"]
    said = list_writer.set_lists(COLLECTION, f"{SAES[4]}/3", [], ["war"])
    assert said is not None
    assert "read-only" in said
    assert on_lists(own, SAES[4], 3) == []


def test_a_change_is_seen_without_opening_the_warehouse_anew(own):
    live = Live(own.root)
    before = live.current()
    assert before.connection.sql(
        f"select count(distinct (kind, feature_id, operator)) from list_members where list = '{LIST}'"
    ).fetchall() == [(3,)]
    changes.remove(own, LIST, find_items(own, COLLECTION, [f"{SAES[6]}/{STOPPING}"]))
    live.renew_lists()
    after = live.current()
    assert after.connection is before.connection
    assert after.connection.sql(
        f"select count(distinct (kind, feature_id, operator)) from list_members where list = '{LIST}'"
    ).fetchall() == [(2,)]
    assert after.as_of("from list_members") > before.as_of("from list_members")
    assert after.as_of("from saes") == before.as_of("from saes")


def test_only_one_module_of_the_dashboard_writes():
    from pathlib import Path

    import dashboards

    files = Path(dashboards.__file__).parent.rglob("*.py")
    writing = [file.name for file in files if "warehouse.lists" in file.read_text(encoding="utf-8")]
    assert writing == ["list_writer.py"]
