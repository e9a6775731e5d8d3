"""Activity on both classes, on planted features."""

import polars as pl

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.tasks.reported_study import N_FEATURES, SAES
from tests.warehouse.entity_rows import N_RANKED


def test_ranked_features_are_points_and_all_others_are_counted(study):
    rows = panel_starting(read_page("entities"), "Activity on either class").rows
    ranked = rows.filter(pl.col("rank").is_not_null())
    assert ranked.height == 2 * N_RANKED
    assert rows["n_features"].sum() == N_FEATURES * len(SAES)
    assert (ranked.filter(pl.col("direction") == "known")["f_positive"] > 0.5).all()
    assert (ranked.filter(pl.col("direction") == "unknown")["f_positive"] == 0).all()
