"""The curves of separation by layer, on planted separations."""

import polars as pl
import pytest

from tests.dashboards.opened_pages import panel_starting, read_page


def test_the_last_layer_separates_best_and_maxmin_is_of_all_types_only(study):
    rows = panel_starting(read_page("entities"), "Separation by layer").rows
    known = rows.filter((pl.col("direction") == "known") & (pl.col("entity_type") == "all"))
    assert known["layer"].to_list() == [4, 6]
    assert known["maxmin"].to_list() == pytest.approx([0.6, 0.9])
    assert rows.filter(pl.col("entity_type") != "all")["maxmin"].null_count() == rows.height - 4
