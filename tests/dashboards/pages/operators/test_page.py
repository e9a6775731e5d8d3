"""The page of an operator: which one the address means, its scores and curves, its features, and where it comes from."""

import json
from datetime import timedelta

import numpy as np
import pytest
import streamlit as st

import dashboards.pages.operators.features
from ato.operators import TransportOperator
from dashboards.pages.operators.features import ORDERS
from tests.dashboards.opened_pages import check_numbers, open_page, panels
from tests.dashboards.whole_study import UNSCORED, build_whole_study
from tests.tasks.reported_study import N_FEATURES, SAES, SELECTED, interval, mean_r2, pair
from tests.warehouse.small_warehouse import COLLECTION, D_MODEL, STARTED, collect_rows, commit_stage, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

PANELS = (
    "Scores of the residual, beside the baselines",
    "Strength",
    "Amount of data",
    "Rank and ceiling",
    "Transport efficiency",
    "Spectrum",
    "Canonical correlations",
    "Spectrum in numbers",
    "Verdicts",
    "r2 of features by how often they are active",
    "Features",
    "Where it comes from, and how to load it",
    "Lineage",
)
SCORES = PANELS[0]
FOLDS, STRENGTHS = range(3), (1.0, 10.0, 100.0)
RATES, R2S = np.geomspace(1e-4, 0.5, 60), np.linspace(-3, 1, 60)
MODES = 1000


@pytest.fixture(scope="module")
def fitted_root(tmp_path_factory):
    """The small study with one more operator 2 -> 4, whose file is there: chosen by folds, of many modes and features."""
    warehouse = build_whole_study(tmp_path_factory.mktemp("fitted"))
    operator = TransportOperator(2 * np.eye(D_MODEL), np.ones(D_MODEL), "ridge", 2, 4)
    file = warehouse.publish_artifact(operator.save, "operators", "l02-k02", "ridge.safetensors")
    own = {"operator": "ridge-l02-k02", **pair(2, 4)}
    operators = [
        row(
            "operators",
            **own,
            alpha=10.0,
            r2_val=0.1,
            r2_test=0.1,
            path=file.path,
            registry_uri="models:/ato-x/7",
            few_tokens=True,
        )
    ]
    strengths = [
        row("operator_cv", **own, alpha=alpha, fold=fold, r2=0.5 - abs(alpha - 10) / 1000 + fold / 100)
        for alpha in STRENGTHS
        for fold in FOLDS
    ]
    modes = [
        row(
            "operator_spectra",
            **own,
            mode=m,
            singular_value=1 / m if m <= 500 else 1e-17,
            eigenvalue_real=0.6 / m,
            eigenvalue_imag=0.8 / m,
        )
        for m in range(1, MODES + 1)
    ]
    judged = [
        row(
            "feature_transport",
            **own,
            evaluation="features-l02-k02",
            sae=SAES[4],
            feature_id=f,
            n_active=int(1e4 * rate),
            activation_rate=rate,
            verdict="transported" if r2 > 0.7 else "synthesised",
            **interval("r2", r2, 0),
        )
        for f, (rate, r2) in enumerate(zip(RATES, R2S))
    ]
    tables = {"operators": operators, "operator_cv": strengths, "operator_spectra": modes}
    settings, when = {"alphas": list(STRENGTHS)}, {"collection": COLLECTION, "seconds": 1.0}
    commit(
        warehouse,
        "operators",
        "l02-k02",
        **when,
        settings=settings,
        inputs=[COLLECTION],
        started_at=STARTED + timedelta(hours=1),
        files=[file, *write(warehouse, tables, "fitted")],
    )
    commit(
        warehouse,
        "evaluate",
        "features-l02-k02",
        **when,
        settings={},
        inputs=["l02-k02"],
        started_at=STARTED + timedelta(hours=2),
        files=write(warehouse, {"feature_transport": judged}, "judged"),
    )
    return warehouse.root


@pytest.fixture
def fitted(fitted_root, monkeypatch):
    """The page of that operator."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(fitted_root))
    return open_page("operators", operator="ridge-l02-k02")


@pytest.mark.parametrize(
    "address",
    [{}, {"operator": "identity-3-6", "score": "r2"}, {"source_layer": 2, "target_layer": 6, "features": "all"}],
)
def test_each_number_equals_the_one_of_its_sql(study, address):
    assert tuple(check_numbers(open_page("operators", **address))) == PANELS


def test_each_number_of_a_richer_operator_equals_the_one_of_its_sql(fitted):
    assert all(panel.rows.height for panel in check_numbers(fitted).values())


def test_an_operator_in_the_address_names_its_pair_and_method(study):
    app = open_page("operators", operator="identity-2-6")
    shown = {key: app.selectbox(key=key).value for key in ("source_layer", "target_layer", "method")}
    assert shown == {"source_layer": 2, "target_layer": 6, "method": "identity"}
    assert app.query_params["source_layer"] == "2"


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
    fitted.selectbox(key="operator").set_value("ridge-2-4").run()
    assert dict(panels(fitted)[PANELS[11]].rows.iter_rows())["operator"] == "ridge-2-4"


def test_missing_scores_are_said_to_be_missing(study):
    shown = panels(open_page("operators", operator="ridge-1-4"))[SCORES]
    assert shown.metrics[0] == f"{mean_r2(1, 4):.3f}"
    assert set(shown.metrics[1:]) == {"not scored"}
    assert shown.rows["name"].to_list() == ["ridge", "identity", "mean"], "in order of r2"


def test_stages_that_have_not_run_say_what_to_run(study):
    app = open_page("operators", operator="mean-1-4")
    found = panels(app)
    assert all(found[title].informed for title in ("Strength", "Spectrum", "Spectrum in numbers", "Lineage"))
    assert "Verdicts" not in found
    assert any("No features have been judged" in info.value for info in app.info)


def test_the_strength_curve_is_the_mean_of_its_folds(fitted):
    rows = panels(fitted)["Strength"].rows
    assert rows.height == len(FOLDS) * len(STRENGTHS)
    for (alpha,), part in rows.group_by("alpha"):
        assert part["mean_r2"].unique().to_list() == pytest.approx([part["r2"].mean()])
        assert part["chosen"].unique().to_list() == [alpha == 10.0]


def test_a_long_spectrum_is_thinned_and_zeros_are_left_out(fitted):
    rows = panels(fitted)["Spectrum"].rows
    assert rows["mode"].to_list()[:64] == list(range(1, 65))
    assert 200 < rows.height < 400
    assert rows["singular_value"].null_count() == (rows["mode"] > 500).sum()
    assert rows["modulus"].to_list() == pytest.approx([1 / m for m in rows["mode"]])


def test_every_scored_feature_is_in_the_tile_of_its_r2_and_rate(fitted):
    rows = panels(fitted)[PANELS[9]].rows
    kept = np.clip(R2S, -1, 0.999)  # those below are in the lowest row
    for tile in rows.iter_rows(named=True):
        among = (tile["rate_from"] * (1 - 1e-12) <= RATES) & (tile["rate_to"] * (1 - 1e-12) > RATES)
        inside = among & (kept >= tile["r2_from"] - 1e-12) & (kept < tile["r2_to"] - 1e-12)
        assert tile["n_features"] == inside.sum()
        assert tile["n_transported"] == (inside & (R2S > 0.7)).sum()
    assert rows["n_features"].sum() == len(RATES)


def test_features_without_a_score_are_counted_apart(study):
    rows = panels(open_page("operators", operator="ridge-5-6"))["Verdicts"].rows
    counts = dict(zip(rows["verdict"], rows["n_features"]))
    assert counts == {"transported": N_FEATURES + 1, "not scored": 1}
    everything = panels(open_page("operators", operator="ridge-5-6", features="all"))["Features"].rows
    assert everything["feature_id"][-1] == UNSCORED
    assert everything["r2"][-1] is None


def test_the_table_holds_selected_features_in_the_wanted_order(study):
    for order, first in zip(ORDERS, (max(SELECTED), min(SELECTED), min(SELECTED))):
        rows = panels(open_page("operators", operator="ridge-1-4", order=order))["Features"].rows
        assert set(rows["feature_id"]) == set(SELECTED)
        assert rows["feature_id"][0] == first
    assert rows["explanation"][0] == "words of peace & war"


def test_a_selected_row_leads_to_its_feature(study, monkeypatch):
    led = []
    real = st.dataframe

    def dataframe(rows, *, key=None, **more):
        real(rows, key=key, **more)
        return {"selection": {"rows": [1] if key else []}}

    monkeypatch.setattr(st, "dataframe", dataframe)
    monkeypatch.setattr(dashboards.pages.operators.features, "go", lambda name, **address: led.append((name, address)))
    open_page("operators", operator="ridge-1-4")
    assert led == [("features", {"sae": SAES[4], "feature_id": max(SELECTED) - 1})]


def test_lineage_names_what_made_the_operator_and_what_read_it(fitted):
    rows = panels(fitted)["Lineage"].rows
    assert dict(zip(rows["key"], rows["role"])) == {"l02-k02": "fitted by", "features-l02-k02": "read by"}
    assert json.loads(rows["settings"][0])["alphas"] == list(STRENGTHS)
    assert dict(panels(fitted)[PANELS[11]].rows.iter_rows())["registry_uri"] == "models:/ato-x/7"
    assert any("ten tokens" in warning.value for warning in fitted.warning)


def test_the_snippet_loads_the_operator(fitted):
    code = next(block.value for block in fitted.code if "load_operator" in block.value)
    local, registered = code.split("# or the registered version")
    names = {"x": np.ones((3, D_MODEL))}
    exec(local, names)
    assert names["y_hat"] == pytest.approx(np.full((3, D_MODEL), 3.0))
    assert 'load_model("models:/ato-x/7")' in registered


def test_an_empty_warehouse_and_one_without_operators_say_what_to_run(empty):
    assert "make run" in open_page("operators").info[0].value
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    st.cache_resource.clear()
    assert "ato run operators" in open_page("operators").info[0].value
