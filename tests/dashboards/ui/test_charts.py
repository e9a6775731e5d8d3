"""What charts share: intervals where there are some, one colour a name, one legend of verdicts."""

import altair as alt
import polars as pl
import pytest

from ato.evaluation.verdicts import COMPUTED, TRANSPORTED, UNDETERMINED
from ato.operators.methods import METHODS
from dashboards.ui.charts import (
    CATEGORIES,
    VERDICTS,
    coloured,
    in_method_order,
    method_colours,
    numbered,
    verdict_colours,
    with_intervals,
)


@pytest.mark.parametrize(("columns", "marks"), [(("y", "y_low", "y_high"), ["rule", "point"]), (("y",), ["point"])])
def test_intervals_are_drawn_where_the_frame_has_them(columns, marks):
    rows = pl.DataFrame({name: [0.5] for name in columns} | {"x": [1]})
    spec = with_intervals(rows, x=alt.X("x:Q"), y="y", y_title="r2", line=False).to_dict()
    assert [layer["mark"]["type"] for layer in spec["layer"]] == marks


def test_names_keep_their_colours_whatever_is_shown():
    scale = coloured("method", {"ridge": "#0072B2", "mean": "#999999"}, "method").to_dict()["scale"]
    assert dict(zip(scale["domain"], scale["range"])) == {"ridge": "#0072B2", "mean": "#999999"}


def test_more_layers_than_colours_take_a_sequential_scheme():
    assert numbered("layer", "layer", len(CATEGORIES)).to_dict()["scale"]["range"] == list(CATEGORIES)
    assert numbered("layer", "layer", len(CATEGORIES) + 1).to_dict()["scale"] == {"scheme": "viridis"}


def test_charts_show_verdicts_in_the_words_of_the_tables():
    assert sorted(VERDICTS) == sorted((TRANSPORTED, COMPUTED, UNDETERMINED))
    spec = verdict_colours().to_dict()
    assert spec["scale"]["domain"] == list(VERDICTS)
    assert "labelExpr" not in spec["legend"]


def test_a_method_has_its_colour_and_others_take_what_is_left():
    assert method_colours(["rrr", "svd", "ridge", "from an older version"]) == {
        "ridge": METHODS["ridge"].colour,
        "rrr": METHODS["rrr"].colour,
        "svd": CATEGORIES[1],
        "from an older version": CATEGORIES[3],
    }
    assert set(method_colours(list(METHODS))) == set(METHODS)


def test_colours_of_methods_are_those_of_the_palette():
    assert {method.colour for method in METHODS.values() if method.colour} <= set(CATEGORIES)


def test_methods_come_in_the_order_of_the_registry_and_unknown_ones_last():
    assert in_method_order(["unknown", "mean", "svd", "ridge"]) == ["ridge", "svd", "mean", "unknown"]
