"""Costs of interventions, on a study whose costs are planted."""

import pytest

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.tasks.reported_study import COST

PAIR = {"target_layer": 6, "source_layer": 5}


def test_planted_costs_stand_in_order(study):
    rows = panel_starting(read_page("causal", **PAIR), "Cost of each").rows
    assert dict(zip(rows["intervention"], rows["delta_log_ppl"])) == pytest.approx(COST)
    assert rows["intervention"].to_list() == sorted(COST, key=lambda name: COST[name])


def test_more_edited_positions_come_later(study):
    rows = panel_starting(read_page("causal", **PAIR), "Cost against edited positions").rows
    assert "study" not in rows["position_set"].to_list(), "an average of sets is no set"
    assert rows["n_edited"].drop_nulls().is_sorted()


def test_what_was_not_measured_is_said_and_not_drawn_as_zero(study):
    app = read_page("causal", **PAIR, measure="kl")
    assert any("Not measured" in said for said in panel_starting(app, "Cost of each").informed)
