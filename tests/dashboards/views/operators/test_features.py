"""Transport of the features of the target's SAE."""

import numpy as np
import streamlit as st

import dashboards.views.operators.features
from dashboards.views.operators.features import ORDERS
from tests.dashboards.opened_pages import open_page, panels, read_page
from tests.dashboards.views.operators.fitted_study import R2S, RATES
from tests.dashboards.whole_study import UNSCORED
from tests.tasks.reported_study import N_FEATURES, SAES, SELECTED


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


def test_the_table_holds_selected_features_in_the_wanted_order(study):
    for order, first in zip(ORDERS, (max(SELECTED), min(SELECTED), min(SELECTED))):
        rows = panels(read_page("operators", operator="ridge-1-4", order=order))["Features"].rows
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
    monkeypatch.setattr(dashboards.views.operators.features, "go", lambda name, **address: led.append((name, address)))
    open_page("operators", operator="ridge-1-4")
    assert led == [("features", {"sae": SAES[4], "feature_id": max(SELECTED) - 1})]
