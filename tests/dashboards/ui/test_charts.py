"""Colours and order of methods on the pages."""

from ato.operators.methods import METHODS
from dashboards.ui.charts import CATEGORIES, in_method_order, method_colours


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
