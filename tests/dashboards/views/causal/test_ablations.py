"""Interventions on single features."""

import pytest

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.dashboards.whole_study import ABLATED
from tests.tasks.reported_study import SAES

PAIR = {"target_layer": 6, "source_layer": 5}


def test_a_feature_s_ablation_stands_beside_its_transport(study):
    (row,) = panel_starting(read_page("causal", **PAIR), "Single features").rows.iter_rows(named=True)
    assert (row["feature_id"], row["sae"]) == (ABLATED, SAES[6])
    assert (row["zeroed"], row["transported"]) == pytest.approx((0.004, 0.001))
