"""Verdicts and spread of r2 over features."""

import polars as pl

from tests.dashboards.opened_pages import panels, read_page
from tests.tasks.reported_study import N_FEATURES, SELECTED


def test_the_spread_of_selected_features_is_of_these_alone(study):
    everything, chosen = (
        panels(read_page("transport", features=features))["Spread of r2 by leap"].rows
        for features in ("all", "selected")
    )
    assert everything.filter(pl.col("target_layer") == 4)["n_features"].unique().to_list() == [N_FEATURES]
    assert chosen.filter(pl.col("target_layer") == 4)["n_features"].unique().to_list() == [len(SELECTED)]
