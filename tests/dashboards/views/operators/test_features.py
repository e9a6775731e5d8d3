"""Transport of the features of the target's SAE."""

from datetime import timedelta
from shutil import copytree

import numpy as np
import streamlit as st

import dashboards.views.operators.features
from tests.dashboards.opened_pages import open_page, panels, read_page
from tests.dashboards.views.operators.fitted_study import R2S, RATES
from tests.dashboards.whole_study import STOPPING, UNSCORED
from tests.tasks.reported_study import N_FEATURES, SAES, SELECTED, pair
from tests.warehouse.small_warehouse import COLLECTION, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse


def test_every_scored_feature_is_in_the_tile_of_its_r2_and_rate(fitted):
    rows = panels(fitted)["r2 against activation rate"].rows
    kept = np.clip(R2S, -1, 0.999)  # those below are in the lowest row
    for tile in rows.iter_rows(named=True):
        among = (tile["rate_from"] * (1 - 1e-12) <= RATES) & (tile["rate_to"] * (1 - 1e-12) > RATES)
        inside = among & (kept >= tile["r2_from"] - 1e-12) & (kept < tile["r2_to"] - 1e-12)
        assert tile["n_features"] == inside.sum()
        assert tile["n_transported"] == (inside & (R2S > 0.7)).sum()
    assert rows["n_features"].sum() == len(RATES)


def test_features_without_a_score_are_counted_apart(study):
    rows = panels(read_page("operators", operator="ridge-5-6"))["Verdicts"].rows
    counts = dict(zip(rows["verdict"], rows["n_features"]))
    assert counts == {"transported": N_FEATURES + 1, "not scored": 1}
    everything = panels(read_page("operators", operator="ridge-5-6", features="all"))["Features"].rows
    assert everything["feature_id"][-1] == UNSCORED
    assert everything["r2"][-1] is None


def test_the_table_holds_every_feature_by_r2_and_the_selected_ones_or_one_verdict_on_request(study):
    everything = panels(read_page("operators", operator="ridge-1-4"))["Features"].rows
    assert everything["feature_id"].to_list() == list(range(N_FEATURES))[::-1]
    assert (everything["r2_low"] < everything["r2"]).all()
    assert (everything["r2"] < everything["r2_high"]).all()
    assert everything.filter(everything["feature_id"] == min(SELECTED))["about"][0] == "words of peace & war"
    selected = panels(read_page("operators", operator="ridge-1-4", features="selected"))["Features"].rows
    assert set(selected["feature_id"]) == set(SELECTED)
    computed = panels(read_page("operators", operator="ridge-3-6", verdict="computed"))["Features"].rows
    assert dict(zip(computed["feature_id"], computed["verdict"])) == {STOPPING: "computed"}


def test_every_operator_of_the_pair_has_its_verdicts_beside_the_baselines(study):
    rows = panels(read_page("operators", operator="ridge-1-4"))["Verdicts beside the baselines"].rows
    shares = {row["method"]: row for row in rows.iter_rows(named=True)}
    assert shares["ridge"]["share_transported"] == 1
    assert shares["identity"]["share_undetermined"] == 1
    assert shares["ridge"]["mean_r2_low"] < shares["ridge"]["mean_r2"] < shares["ridge"]["mean_r2_high"]


def test_the_thresholds_of_the_evaluation_stand_beside_its_verdicts(study, tmp_path, monkeypatch):
    root = copytree(study, tmp_path / "judged")
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    evaluation = "evaluate-own"
    settings = {"transported_above": 0.8, "computed_below": 0.2, "min_active": 40}
    own = row("feature_transport", **pair(1, 4), operator="ridge-1-4", evaluation=evaluation, sae=SAES[4], feature_id=1)
    warehouse = Warehouse(root)
    commit(
        warehouse,
        "evaluate",
        evaluation,
        collection=COLLECTION,
        settings=settings,
        files=write(warehouse, {"feature_transport": [own]}, "own"),
        started_at=STARTED + timedelta(hours=1),
        seconds=1.0,
    )
    shown = read_page("operators", operator="ridge-1-4")
    assert "above 0.8 transported, below 0.2 computed; scored from 40 active" in panels(shown)["Verdicts"].note


def test_a_selected_row_leads_to_its_feature(study, monkeypatch):
    led = []
    real = st.dataframe

    def dataframe(rows, *, key=None, **more):
        real(rows, key=key, **more)
        return {"selection": {"rows": [1] if key else []}}

    monkeypatch.setattr(st, "dataframe", dataframe)
    monkeypatch.setattr(dashboards.views.operators.features, "go", lambda name, **address: led.append((name, address)))
    open_page("operators", operator="ridge-1-4")
    assert led == [("features", {"sae": SAES[4], "feature_id": N_FEATURES - 2})]
