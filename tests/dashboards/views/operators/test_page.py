"""The page of an operator: which one the address means, and its scores."""

from shutil import copytree

import pytest
import streamlit as st

from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from tests.dashboards.views.operators.fitted_study import FIT
from tests.tasks.reported_study import mean_r2, pair
from tests.warehouse.small_warehouse import collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse

PANELS = (
    "Residual scores against the baselines",
    "Verdicts",
    "Features",
    "Verdicts beside the baselines",
    "r2 against activation rate",
    "Notes",
)
PANELS_OF_FIT = (
    "Regularisation (alpha)",
    "Amount of data",
    "Rank and ceiling",
    "Transport efficiency",
    "Spectrum",
    "Canonical correlations",
    "Spectrum in numbers",
    "Provenance and loading",
    "Lineage",
)


@pytest.mark.parametrize(
    "address",
    [{}, {"operator": "identity-3-6", "score": "r2"}, {"source_layer": 2, "target_layer": 6, "features": "all"}],
)
def test_each_number_equals_the_one_of_its_sql(study, address):
    assert tuple(check_numbers(read_page("operators", **address))) == PANELS
    assert tuple(check_numbers(read_page("operators", part=FIT, **address))) == PANELS_OF_FIT


def test_each_number_of_a_richer_operator_equals_the_one_of_its_sql(fitted, fit):
    found = check_numbers(fitted) | check_numbers(fit)
    assert [title for title, panel in found.items() if not panel.rows.height] == ["Notes"]


def test_an_operator_in_the_address_names_its_pair_and_method(study):
    app = open_page("operators", operator="identity-2-6")
    shown = {key: app.selectbox(key=key).value for key in ("source_layer", "target_layer", "method")}
    assert shown == {"source_layer": 2, "target_layer": 6, "method": "identity"}
    assert app.query_params["source_layer"] == "2"


def test_the_page_opens_on_a_pair_whose_target_has_an_sae(study, tmp_path, monkeypatch):
    root = copytree(study, tmp_path / "more")
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    bare = [row("operators", operator=f"ridge-{s}-{t}", **pair(s, t), r2_val=0.5) for s, t in ((0, 2), (1, 2))]
    commit_stage(Warehouse(root), "operators", write(Warehouse(root), {"operators": bare}, "bare"), key="bare")
    app = open_page("operators")
    assert [app.selectbox(key=key).value for key in ("source_layer", "target_layer")] == [1, 4], "0 -> 2 has none"
    assert "Verdicts" in panels(app)
    assert [open_page("operators", source_layer=0).selectbox(key="target_layer").value] == [2], "it can be chosen"


def test_another_choice_drops_the_operator_from_the_address(study):
    app = open_page("operators", operator="identity-2-6")
    app.selectbox(key="source_layer").set_value(3).run()
    assert "operator" not in app.query_params
    assert [app.selectbox(key=key).value for key in ("source_layer", "target_layer", "method")] == [3, 6, "identity"]


def test_an_unknown_operator_and_a_missing_pair_are_ignored(study):
    app = open_page("operators", operator="nothing", source_layer=5, target_layer=4)
    assert [app.selectbox(key=key).value for key in ("source_layer", "target_layer", "method")] == [5, 6, "ridge"]
    assert "operator" not in app.query_params


def test_operators_of_one_pair_and_method_are_told_apart_by_their_keys(fitted):
    assert fitted.selectbox(key="operator").value == "ridge-l02-k02"
    app = open_page("operators", operator="ridge-l02-k02", part=FIT)
    app.selectbox(key="operator").set_value("ridge-2-4").run()
    assert dict(panels(app)["Provenance and loading"].rows.iter_rows())["operator"] == "ridge-2-4"


def test_missing_scores_are_said_to_be_missing(study):
    shown = panels(read_page("operators", operator="ridge-1-4"))[PANELS[0]]
    assert shown.metrics[0] == f"{mean_r2(1, 4):.3f}"
    assert set(shown.metrics[1:]) == {"not scored"}
    assert shown.rows["name"].to_list() == ["ridge", "identity", "mean"], "in order of r2"


def test_stages_that_have_not_run_say_what_to_run(study):
    app = read_page("operators", operator="mean-1-4")
    found = panels(app) | panels(read_page("operators", operator="mean-1-4", part=FIT))
    assert all(
        found[title].informed for title in ("Regularisation (alpha)", "Spectrum", "Spectrum in numbers", "Lineage")
    )
    assert "Verdicts" not in found
    assert any("No features evaluated" in info.value for info in app.info)


def test_an_empty_warehouse_and_one_without_operators_say_what_to_run(empty):
    assert "make run" in open_page("operators").info[0].value
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    st.cache_resource.clear()
    assert "ato run operators" in open_page("operators").info[0].value
