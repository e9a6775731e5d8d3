"""Choices that follow the address."""

from datetime import timedelta

from tests.dashboards.opened_pages import open_page
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def test_the_collection_follows_the_address_and_stays_from_page_to_page(study):
    assert open_page("overview").session_state["collection"] == COLLECTION
    assert open_page("saes", collection=COLLECTION).session_state["collection"] == COLLECTION
    app = open_page("saes", collection="of another warehouse")
    assert app.session_state["collection"] == COLLECTION, "a link from elsewhere is no error"


def test_an_option_is_shown_in_words_while_the_address_keeps_its_name(study):
    app = open_page("causal", measure="delta_edited_onwards", rival="random_rotation")
    assert app.session_state["measure"] == "delta_edited_onwards"
    assert "from the first edit on" in app.button_group(key="measure").options
    assert "random rotation" in app.button_group(key="rival").options


def test_every_address_names_the_collection_so_that_a_copied_link_shows_the_same_later(study):
    for name in ("overview", "operators", "reference"):
        assert open_page(name).query_params["collection"] in (COLLECTION, [COLLECTION])


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
