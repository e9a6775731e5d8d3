"""The causal page: what interventions cost, on a study whose costs are planted."""

import polars as pl
import pytest

from tests.dashboards.opened_pages import check_numbers, open_page, panels
from tests.dashboards.whole_study import ABLATED
from tests.tasks.reported_study import COST, SAES
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse


@pytest.fixture
def pair():
    """The address of a pair of the study."""
    return {"target_layer": 6, "source_layer": 5}


def one(app, title):
    """The panel whose title begins so."""
    (found,) = (panel for name, panel in panels(app).items() if name.startswith(title))
    return found


def test_each_number_equals_the_one_of_its_sql(study, pair):
    for measure in ("delta_log_ppl", "kl"):
        found = check_numbers(open_page("causal", **pair, measure=measure, position_set="all"))
        assert len(found) >= 4
        assert all(panel.drawn for panel in found.values() if not panel.rows.is_empty() and not panel.informed)


def test_planted_costs_stand_in_order(study, pair):
    rows = one(open_page("causal", **pair), "Cost of each").rows
    assert dict(zip(rows["intervention"], rows["delta_log_ppl"])) == pytest.approx(COST)
    assert rows["intervention"].to_list() == sorted(COST, key=lambda name: COST[name])


def test_the_address_chooses_pair_positions_measure_and_intervention(study):
    app = open_page("causal", target_layer=4, source_layer=2, position_set="60,61", measure="kl", intervention="zero")
    assert one(app, "Cost of each").title.endswith("layer 2 → 4")
    assert one(app, "Cost of each").rows["position_set"].unique().to_list() == ["60,61"]
    assert app.selectbox(key="position_set").value == "60,61"
    assert app.session_state["measure"] == "kl"
    app = app.selectbox(key="target_layer").set_value(6).run()
    assert app.query_params["target_layer"] == "6"
    assert " → 6" in one(app, "Cost of each").title


def test_more_edited_positions_come_later(study, pair):
    rows = one(open_page("causal", **pair), "Cost against how much").rows
    assert "study" not in rows["position_set"].to_list(), "an average of sets is no set"
    assert rows["n_edited"].drop_nulls().is_sorted()


def test_losses_of_sequences_average_to_the_planted_cost(study, pair):
    app = open_page("causal", **pair, intervention="mean")
    ends, bins = one(app, "Hurt most").rows, one(app, "Added loss by").rows
    # Of sequence s the cost was planted as COST * (1 + 0.01 s), s = 0 .. 9.
    assert ends["delta_log_ppl"].mean() == pytest.approx(COST["mean"] * 1.045)
    assert ends["sequence_id"].to_list() == list(range(9, -1, -1)), "the worst come first"
    assert ends.filter(pl.col("sequence_id") < 4)["text"].null_count() == 0
    assert (bins["n_sequences"].sum(), bins["n_all"][0], bins["n_documents"][0]) == (10, 10, 5)
    assert bins["bin_from"][0] == pytest.approx(COST["mean"])


def test_a_feature_s_ablation_stands_beside_its_transport(study, pair):
    (row,) = one(open_page("causal", **pair), "Single features").rows.iter_rows(named=True)
    assert (row["feature_id"], row["sae"]) == (ABLATED, SAES[6])
    assert (row["zeroed"], row["transported"]) == pytest.approx((0.004, 0.001))


def test_what_was_not_measured_is_said_and_not_drawn_as_zero(study, pair):
    app = open_page("causal", **pair, measure="kl")
    assert any("Not measured" in said for said in one(app, "Cost of each").informed)


def test_without_causal_results_the_page_says_how_to_get_them(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    app = open_page("causal")
    assert "ato run causal" in app.info[0].value
    assert not panels(app)
