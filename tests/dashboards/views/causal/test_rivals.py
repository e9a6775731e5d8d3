"""Transport against its rivals, on a study whose costs are planted."""

import json

import pytest

from tests.dashboards.opened_pages import chart_specs, open_page, panel_starting, read_page
from tests.tasks.reported_study import COST, PAIRS

PAIR = {"target_layer": 6, "source_layer": 5}


def test_transport_is_held_against_the_identity_for_all_pairs(study):
    app = open_page("causal", **PAIR)
    shown = panel_starting(app, "Transport minus identity")
    assert sorted(zip(shown.rows["source_layer"], shown.rows["target_layer"])) == sorted(PAIRS)
    assert shown.rows["difference"].to_list() == pytest.approx([COST["transport"] - COST["identity"]] * len(PAIRS))
    assert f"excludes 0 for {len(PAIRS)} of {len(PAIRS)} pairs" in shown.note
    assert app.session_state["rival"] == "identity"


@pytest.mark.parametrize("measure", ["delta_log_ppl", "delta_edited_onwards", "kl"])
def test_another_rival_and_measure_can_be_chosen(study, measure):
    shown = panel_starting(read_page("causal", **PAIR, rival="zero", measure=measure), "Transport minus zero")
    factor = 2 if measure == "delta_edited_onwards" else 1
    assert shown.rows["difference"][0] == pytest.approx(factor * (COST["transport"] - COST["zero"]))


def test_no_line_joins_position_sets_of_equal_size(study):
    (doses,) = [
        spec for spec in chart_specs(read_page("causal", **PAIR)) if "positions edited per sequence" in json.dumps(spec)
    ]
    marks = {layer["mark"]["type"] for layer in doses["layer"]}
    assert marks == {"rule", "point"}
