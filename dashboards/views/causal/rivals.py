"""Panel of the page ``causal``: transport against a rival on the same sequences, for all layer pairs."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.causal.intervention_names import RIVALS
from dashboards.ui.address import choose, spaced
from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.causal.costs import AXIS, LINEAR_BELOW, MEASURES

DIFFERENCES = {
    "delta_log_ppl": "difference",
    "delta_edited_onwards": "difference_edited_onwards",
    "kl": "difference_kl",
}
"""Measure of the page -> its column of paired differences."""
EXCLUDES, INCLUDES = "#0072B2", "#999999"

FOUND = """select distinct intervention
from causal_summary
where collection = $collection and method = $method and position_set = $position_set and feature_id is null
    and difference is not null"""

PAIRED = """select concat(source_layer, ' → ', target_layer) as pair, source_layer, target_layer, leap, intervention as rival,
    $column as difference, $column_low as difference_low, $column_high as difference_high,
    $column_low > 0 or $column_high < 0 as excludes_zero, difference_p as p, n_sequences, n_documents
from causal_summary
where collection = $collection and method = $method and position_set = $position_set and intervention = $rival
    and feature_id is null and $column is not null
order by target_layer, source_layer"""


def against_rivals(collection: str, method: object, edited: object, measure: str) -> None:
    """Transport minus a chosen rival, the identity by default, pair by pair; arguments as for ``by_pair``."""
    own = {"collection": collection, "method": method, "position_set": edited}
    found = ask(filled(FOUND, **own))["intervention"].to_list()
    rival = choose(
        "Rival", "rival", [name for name in RIVALS if name in found], widget="segmented_control", shown=spaced
    )
    column = DIFFERENCES[measure]
    sql = PAIRED.replace("$column", column)
    panel(
        f"Transport minus {spaced(rival or RIVALS[0])}, all layer pairs",
        filled(sql, **own, rival=rival),
        partial(_draw, measure),
        note="Both replace the same positions of the same sequences: each point is the mean of paired differences, left "
        "of 0 transport costs less. Whiskers are 95 % intervals by document, blue where they exclude 0; about one pair in twenty would by "
        "chance. p: of the added loss over the whole sequence, two-sided, by "
        f"flipping the signs of whole documents. The scale is linear up to {LINEAR_BELOW} nats and logarithmic beyond.",
        empty="Transport and its rivals have not been compared yet: run `ato run causal`.",
    )


def _draw(measure: str, rows: pl.DataFrame) -> None:
    title = f"transport minus rival: {MEASURES[measure]}"
    axis: dict[str, Any] = {
        "axis": AXIS,
        "scale": alt.Scale(type="symlog", constant=LINEAR_BELOW),
    }
    base = alt.Chart(rows).encode(
        y=alt.Y(
            "pair:N", title="source → target layer", sort=rows["pair"].to_list(), axis=alt.Axis(labelOverlap=False)
        ),
        color=alt.ColorValue(INCLUDES, condition={"test": "datum.excludes_zero", "value": EXCLUDES}),
        tooltip=[
            alt.Tooltip("pair:N"),
            number("difference", "difference", ".4f"),
            number("difference_low", "95 % from", ".4f"),
            number("difference_high", "to", ".4f"),
            number("p", "p", ".4f"),
            number("n_sequences", "sequences", "d"),
            number("n_documents", "documents", "d"),
        ],
    )
    chart = alt.layer(
        alt.Chart(rows.head(1)).mark_rule(color="#808080").encode(x=alt.XDatum(0, **axis)),
        base.mark_rule(strokeWidth=2).encode(
            x=alt.X("difference_low:Q", title=title, **axis), x2=alt.X2("difference_high:Q")
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=alt.X("difference:Q", title=title, **axis)),
    )
    draw_chart(chart.properties(height=alt.Step(26)), alt="Transport minus the rival, of every layer pair")
    told, whole = int(rows["excludes_zero"].sum()), rows.row(0, named=True)
    st.caption(
        f"95 % interval excludes 0 for {told} of {rows.height} pairs; {whole['n_sequences']} sequences of "
        f"{whole['n_documents']} documents."
    )
