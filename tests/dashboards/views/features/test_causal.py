"""Interventions on one feature."""

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.features.opened_feature import read_feature
from tests.dashboards.whole_study import ABLATED


def test_the_causal_effect_of_an_edited_feature_is_shown(study):
    rows = panels(read_feature(ABLATED))["Causal effect"].rows
    assert set(rows["edit"]) == {"transported", "ablated"}
    assert set(rows["leap"]) == {1, 2, 3, 4, 5}
