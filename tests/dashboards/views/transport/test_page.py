"""The page of the map: what a cell holds, which operator and SAE stand for it, and where a click leads."""

import polars as pl
import pytest
import streamlit as st

import dashboards.views.transport.page
from dashboards.views.transport.page import ADDRESS, MEASURES
from tests.dashboards.opened_pages import chart_specs, check_numbers, open_page, panels, read_page
from tests.dashboards.whole_study import build_whole_study
from tests.tasks.reported_study import N_FEATURES, PAIRS, SAES, SELECTED, interval, mean_r2, pair
from tests.warehouse.small_warehouse import collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse

OTHER = "sae-layer04-cccc0000"


PANELS = (
    "Source × target",
    "By leap",
    "By depth",
    "Verdicts by leap",
    "Spread of r2 by leap",
    "Direct versus composed operators",
)


@pytest.fixture(scope="module")
def doubled_root(tmp_path_factory):
    """The small study with a second SAE at layer 4, judged for 1 -> 4 alone, and a second, better ridge operator 2 -> 4."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("doubled"))
    judged = {"operator": "ridge-1-4", "sae": OTHER, "sae_trusted": False, "n_active": 50, "verdict": "transported"}
    tables = {
        "saes": [row("saes", layer=4, sae=OTHER, d_sae=5, trusted=False)],
        "operators": [row("operators", operator="ridge-2-4-wide", **pair(2, 4), r2_val=0.99, r2_test=0.99)],
        "feature_transport": [
            row(
                "feature_transport",
                evaluation="evaluate-1-4",
                **pair(1, 4),
                feature_id=f,
                **judged,
                **interval("r2", 0.25),
            )
            for f in range(5)
        ],
    }
    commit_stage(warehouse, "evaluate", write(warehouse, tables, "doubled"), key="evaluate-doubled")
    return warehouse.root


def _map(app) -> dict[tuple[int, int], dict]:
    rows = panels(app)["Source × target"].rows
    return {(cell["source_layer"], cell["target_layer"]): cell for cell in rows.iter_rows(named=True)}


@pytest.mark.parametrize("address", [{}, {"method": "identity", "features": "selected"}, {"method": "mean"}])
def test_each_number_equals_the_one_of_its_sql(study, address):
    assert tuple(check_numbers(read_page("transport", **address))) == PANELS


@pytest.mark.parametrize("measure", MEASURES)
def test_every_pair_with_the_measure_is_drawn(study, measure):
    found = panels(open_page("transport", measure=measure))
    cells = found["Source × target"].drawn[0]
    assert sorted(cells.select("source_layer", "target_layer").iter_rows()) == sorted(PAIRS)
    known = cells.filter(pl.col(MEASURES[measure]).is_not_null()).height
    assert {found[profile].drawn[0].height for profile in ("By leap", "By depth")} == {known}


def test_cells_hold_the_planted_means(study):
    cells = _map(read_page("transport"))
    for (source, target), cell in cells.items():
        assert cell["r2_test"] == pytest.approx(mean_r2(source, target))
        assert cell["n_features_selected"] == len(SELECTED)
    for source in (1, 2, 3):
        assert cells[source, 4]["mean_r2"] == pytest.approx(mean_r2(source, 4))
        assert cells[source, 4]["n_features_scored"] == N_FEATURES


def test_pairs_whose_features_nobody_judged_are_shown_and_never_as_zero(study):
    app = read_page("transport", method="mean")
    cells = _map(app)
    assert sorted(cells) == sorted(PAIRS)
    assert {cell["mean_r2"] for cell in cells.values()} == {None}
    found = panels(app)
    for title in ("By leap", "By depth", "Verdicts by leap", "Spread of r2 by leap"):
        assert "ato run evaluate" in found[title].informed[0]
    assert _map(read_page("transport", method="mean", measure="r2 of the whole residual"))[1, 4]["r2_test"] == 0.0


def test_the_address_chooses_measure_method_and_features(study):
    app = read_page("transport", method="identity", measure="median r2")
    assert [app.selectbox(key=key).value for key in ("measure", "method")] == ["median r2", "identity"]
    cells = _map(app)
    assert cells[1, 4]["median_r2"] == pytest.approx(mean_r2(1, 4) - 0.2)
    assert {cell["operator"].split("-")[0] for cell in cells.values()} == {"identity"}


def test_the_map_is_of_all_scored_features_and_of_the_selected_ones_on_request(study):
    every, few = (read_page("transport", **address) for address in ({}, {"features": "selected"}))
    assert [options for app in (every, few) for options in app.selectbox(key="measure").options[:1]] == ["mean r2"] * 2
    titles = [
        layer["encoding"]["color"]["legend"]["title"]
        for app in (every, few)
        for layer in chart_specs(app)[0]["layer"]
        if "legend" in layer["encoding"].get("color", {})
    ]
    assert titles == ["mean r2, all scored features", "mean r2, selected features"]
    assert {panels(app)["Spread of r2 by leap"].rows["n_features"].max() for app in (every, few)} == {
        N_FEATURES + 1,
        len(SELECTED),
    }


def test_the_best_operator_of_a_method_stands_for_its_pair(doubled_root, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(doubled_root))
    cells = _map(open_page("transport"))
    assert cells[2, 4]["operator"] == "ridge-2-4-wide"
    assert cells[2, 4]["mean_r2"] is None, "its features were not judged"
    assert cells[1, 4]["operator"] == "ridge-1-4"


def test_where_a_target_has_several_saes_one_is_chosen(doubled_root, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(doubled_root))
    app = open_page("transport")
    assert app.selectbox(key="sae").options == [SAES[4], OTHER], "trusted first"
    assert _map(app)[1, 4]["sae"] == SAES[4]
    app.selectbox(key="sae").set_value(OTHER).run()
    cells = _map(app)
    assert (cells[1, 4]["sae"], cells[1, 4]["n_features"]) == (OTHER, 5)
    assert cells[1, 4]["mean_r2"] == pytest.approx(0.25)
    assert cells[3, 4]["sae"] is None, "not judged there: no other SAE's scores take its place"
    assert cells[1, 6]["sae"] == SAES[6], "other targets keep their own"
    spread = panels(app)["Spread of r2 by leap"].rows
    assert spread.filter(pl.col("target_layer") == 4)["sae"].to_list() == [OTHER]


def test_a_click_on_a_cell_leads_to_its_operator(study, monkeypatch):
    led = []
    picked = {"selection": {"cell": [{"source_layer": 1, "target_layer": 4}]}}
    monkeypatch.setattr(st, "altair_chart", lambda *args, key=None, **more: picked if key == "map" else None)
    monkeypatch.setattr(dashboards.views.transport.page, "go", lambda name, **address: led.append((name, address)))
    open_page("transport", method="identity")
    (name, address), *_ = led
    assert name == "operators"
    wanted = dict(zip(ADDRESS, (1, 4, "identity", "same", "identity-1-4", SAES[4])))
    assert address == wanted | {"measure": "mean r2"}


def test_an_empty_warehouse_and_one_without_operators_say_what_to_run(empty):
    assert "make run" in open_page("transport").info[0].value
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    st.cache_resource.clear()
    assert "ato run operators" in open_page("transport").info[0].value
