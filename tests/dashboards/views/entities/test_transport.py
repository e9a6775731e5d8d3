"""Transport of the best features, on planted r2."""

import polars as pl

from dashboards.views.entities import transport
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


def test_of_several_methods_the_chosen_one_is_drawn(monkeypatch):
    curve = {"series": "operator, at entities", "source_layer": 1, "leap": 1, "r2": 0.5, "r2_low": 0.4, "r2_high": 0.6}
    rows = pl.DataFrame([curve | {"method": method, "n": 9, "verdict": "carried"} for method in ("mean", "ridge")])
    offered, drawn = [], []
    monkeypatch.setattr(transport, "choose", lambda *about: offered.append(about[2]) or about[2][0])
    monkeypatch.setattr(transport, "draw_chart", lambda chart, alt: drawn.append((alt, set(chart.data["method"]))))
    transport._draw_curves(rows)
    assert drawn == [("r2 by source layer, ridge", {"ridge"})]
    assert offered == [["ridge", "mean"]]
