"""Columns drawn as curves: one colour and one name each."""

import polars as pl

from dashboards.views.operators.curves import curve_colours, folded

CURVES = {"a": ("first", "#0072B2"), "b": ("second", "#E69F00")}


def test_every_column_becomes_a_curve_with_its_name_and_missing_values_are_dropped():
    spec = folded(pl.DataFrame({"a": [1.0], "b": [None], "a_low": [0.5]}), CURVES).mark_line().to_dict()
    fold, keep, *_ = spec["transform"]
    assert fold["fold"] == ["a", "b"]
    assert keep["filter"] == "isValid(datum.value)"
    assert "'a': 'first', 'b': 'second'" in str(spec["transform"])


def test_a_curve_has_the_colour_that_is_listed():
    scale = curve_colours(CURVES).to_dict()["scale"]
    assert dict(zip(scale["domain"], scale["range"])) == {"first": "#0072B2", "second": "#E69F00"}
