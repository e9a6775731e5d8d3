"""Whitened r2 and transport efficiency by rank."""

from tests.dashboards.opened_pages import panels, read_page
from tests.dashboards.views.operators.fitted_study import FIT


def test_both_panels_draw_the_same_rows_in_order_of_rank(study):
    found = panels(read_page("operators", operator="ridge-1-4", part=FIT))
    ranks, efficiency = found["Rank and ceiling"].rows, found["Transport efficiency"].rows
    assert ranks.height > 1
    assert ranks["rank"].is_sorted()
    assert ranks.equals(efficiency)


def test_efficiency_is_the_whitened_r2_over_its_ceiling(study):
    rows = panels(read_page("operators", operator="ridge-1-4", part=FIT))["Transport efficiency"].rows.drop_nulls(
        "efficiency"
    )
    shares = rows["r2_rrr"] / rows["ceiling_held_out"]
    assert (rows["efficiency"] - shares).abs().max() < 1e-9
