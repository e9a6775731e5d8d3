"""Page ``causal``: cost of patching transported residuals into the running model, beside its controls."""

import polars as pl
import streamlit as st

from ato.causal.intervention_names import in_shown_order
from dashboards.ui.address import choose, collection
from dashboards.ui.charts import in_method_order
from dashboards.ui.navigation import name_tab
from dashboards.ui.reading import ask, filled
from dashboards.views.causal.ablations import ablations
from dashboards.views.causal.costs import EMPTY, MEASURES_SHORT, by_intervention, by_leap, by_positions
from dashboards.views.causal.pairs import by_pair
from dashboards.views.causal.rivals import against_rivals
from dashboards.views.causal.sequences import sequences

POSITIONS = "Positions replaced in each sequence; `study` averages the study's three sets of five."


DONE = """select distinct source_layer, target_layer, method, position_set
from causal_summary
where collection = $collection and feature_id is null"""


def page() -> None:
    """Draw the page."""
    key = collection()
    done = ask(filled(DONE, collection=key))
    if done.is_empty():
        st.info(EMPTY)
        return
    fields = st.columns(3)
    method = choose("Method", "method", in_method_order(set(done["method"])), where=fields[0])
    done = done.filter(pl.col("method") == method)
    edited = choose(
        "Edited positions", "position_set", in_shown_order(done["position_set"]), where=fields[1], help=POSITIONS
    )
    done = done.filter(pl.col("position_set") == edited)
    measure = (
        choose(
            "Measure",
            "measure",
            list(MEASURES_SHORT),
            shown=MEASURES_SHORT.__getitem__,
            where=fields[2],
            widget="segmented_control",
        )
        or "delta_log_ppl"
    )
    by_pair(key, method, edited, measure)
    against_rivals(key, method, edited, measure)
    left, right = st.columns(2)
    target = choose("Target layer", "target_layer", done["target_layer"].unique().sort().to_list(), where=left)
    done = done.filter(pl.col("target_layer") == target)
    source = choose("Source layer", "source_layer", done["source_layer"].unique().sort().to_list(), where=right)
    pair = {"collection": key, "source_layer": source, "target_layer": target, "method": method}
    name_tab(f"{source} → {target}", "Causal")
    by_intervention(pair, edited, measure)
    left, right = st.columns(2)
    with left:
        by_leap(pair, edited, measure)
    with right:
        by_positions(pair, measure)
    sequences(pair, edited)
    ablations(pair)
