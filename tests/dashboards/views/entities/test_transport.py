"""Transport of the best features, on planted r2."""

import polars as pl

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.tasks.reported_study import mean_r2


def test_what_the_layer_below_predicts_is_carried_and_what_others_do_not_is_computed(study):
    rows = panel_starting(read_page("entities"), "Carried or computed").rows
    assert set(rows.filter(pl.col("leap") == 1)["carried"]) == {"carried"}
    assert set(rows.filter(pl.col("leap") > 1)["carried"]) == {"computed"}


def test_the_curves_of_one_feature_stand_beside_ordinary_text(study):
    rows = panel_starting(read_page("entities", latent="unknown 1: layer 6, feature 1"), "Carried from below").rows
    text = rows.filter(pl.col("series") == "operator, ordinary text")
    assert text["source_layer"].to_list() == [1, 2, 3, 4, 5]
    assert abs(text["r2"].to_list()[-1] - mean_r2(5, 6)) < 0.02
