"""The effect on single sequences, on a study whose costs are planted."""

import polars as pl
import pytest

from tests.dashboards.opened_pages import panel_starting, read_page
from tests.tasks.reported_study import COST

PAIR = {"target_layer": 6, "source_layer": 5}


def test_losses_of_sequences_average_to_the_planted_cost(study):
    app = read_page("causal", **PAIR, intervention="mean")
    ends, bins = panel_starting(app, "Largest and smallest").rows, panel_starting(app, "Added loss by").rows
    # Of sequence s the cost was planted as COST * (1 + 0.01 s), s = 0 .. 9.
    assert ends["delta_log_ppl"].mean() == pytest.approx(COST["mean"] * 1.045)
    assert ends["sequence_id"].to_list() == list(range(9, -1, -1)), "the worst come first"
    assert ends.filter(pl.col("sequence_id") < 4)["text"].null_count() == 0
    assert (bins["n_sequences"].sum(), bins["n_all"][0], bins["n_documents"][0]) == (10, 10, 5)
    assert bins["bin_from"][0] == pytest.approx(COST["mean"])
