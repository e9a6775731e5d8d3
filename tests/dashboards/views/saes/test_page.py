"""The page of SAEs as a whole."""

from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from tests.tasks.reported_study import SAES
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse


def test_each_number_equals_the_one_of_its_sql(study):
    for curve in ("fvu", "lr"):
        found = check_numbers(read_page("saes", curve=curve))
        assert len(found) == 6
        assert all(panel.drawn for panel in found.values())


def test_the_address_chooses_sae_and_curve(study):
    app = open_page("saes", sae=SAES[6], curve="dead_share")
    assert app.selectbox(key="sae").value == SAES[6]
    assert app.session_state["curve"] == "dead_share"


def test_without_saes_the_page_says_how_to_get_them(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    found = panels(open_page("saes"))
    assert "ato run saes" in found["Quality on held-out text"].informed[0]
