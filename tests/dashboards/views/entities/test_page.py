"""The page of entities as a whole: its numbers, its address, and what it says before anything was asked."""

from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse

N_PANELS = 12


def test_each_number_equals_the_one_of_its_sql(study):
    for address in ({}, {"contrast": "correct_wrong", "entity_type": "movie", "outcome": "self_report"}):
        app = read_page("entities", **address)
        found = check_numbers(app)
        assert not app.error
        assert len(found) == N_PANELS
        assert all(panel.drawn or panel.metrics for panel in found.values())


def test_the_address_chooses_classes_type_outcome_feature_and_entity(study):
    latent = "unknown 2: layer 6, feature 3"
    address = {"entity_type": "city", "outcome": "abstain", "latent": latent, "entity": "City <12> (city)"}
    app = open_page("entities", **address)
    assert {name: app.query_params[name] for name in address} == address
    found = panels(app)
    assert found["Interventions beside controls"].rows["outcome"].unique().to_list() == ["abstain"]
    assert found["Its answers"].rows["completion"].to_list()[0] == " country 12"
    assert "layer 6, feature 1" in " ".join(found["Best features beside baselines"].rows["name"])
    app = app.selectbox(key="contrast").set_value("correct_wrong").run()
    assert app.query_params["contrast"] == "correct_wrong"
    assert panels(app)["Best features"].rows["direction"].unique().sort().to_list() == ["correct", "wrong"]


def test_before_anything_was_asked_each_panel_says_how_to_begin(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page("entities")
    assert not app.error
    assert len(panels(app)) == N_PANELS
    assert len(app.info) == N_PANELS
    assert all("ato run entities" in said.value for said in app.info)
