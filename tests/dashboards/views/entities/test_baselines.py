"""Best features beside baselines, on planted scores."""

from tests.dashboards.opened_pages import messages, panel_starting, read_page
from tests.warehouse.entity_rows import BASELINES


def test_every_baseline_stands_beside_the_best_features_in_order(study):
    rows = panel_starting(read_page("entities"), "Best features beside").rows
    assert rows["kind"].to_list()[:2] == ["feature", "feature"]
    assert rows["kind"].to_list().count("baseline") == len(BASELINES)
    assert {"tokens of the name", "confidence of the answers"} < set(rows["name"])
    assert {"linear probe, layer 4", "linear probe, layer 6"} < set(rows["name"])
    assert rows["auroc"].is_sorted(descending=True)


def test_a_confound_is_said_in_one_line_and_only_where_it_is_one(study):
    (line,) = (said for said in messages(read_page("entities")) if "Confounded" in said)
    assert "tokens of the name (AUROC 0.72)" in line
    assert "are not matched" in line
    assert not any("Confounded" in said for said in messages(read_page("entities", contrast="correct_wrong")))
