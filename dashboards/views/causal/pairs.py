"""Panel of the page ``causal``: cost of each intervention on all layer pairs at once."""

from functools import partial

import altair as alt
import polars as pl

from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.causal.costs import EMPTY, SCALE, WHAT, cost_axis, counted, intervention_colour, measured, tooltip

PAIRS = """select concat(source_layer, ' → ', target_layer) as pair, source_layer, target_layer, leap, intervention, position_set,
    delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, delta_edited_onwards, delta_edited_onwards_low,
    delta_edited_onwards_high, kl, kl_low, kl_high, n_sequences, n_documents
from causal_summary
where collection = $collection and method = $method and position_set = $position_set and feature_id is null
order by target_layer, source_layer, delta_log_ppl"""


def by_pair(collection: str, method: object, edited: object, measure: str) -> None:
    """Cost of each intervention on every layer pair with results.

    Args:
        collection: its key.
        method: of the operators.
        edited: the set of edited positions.
        measure: a key of ``MEASURES``.
    """
    panel(
        "Cost of replacing residuals, all layer pairs",
        filled(PAIRS, collection=collection, method=method, position_set=edited),
        partial(_pairs, measure),
        note=f"{WHAT} {SCALE}",
        empty=EMPTY,
    )


def _pairs(measure: str, rows: pl.DataFrame) -> None:
    known = measured(rows, measure)
    if known is None:
        return
    base = alt.Chart(known).encode(
        y=alt.Y(
            "pair:N",
            title="source → target layer",
            sort=known["pair"].unique(maintain_order=True).to_list(),
            axis=alt.Axis(labelOverlap=False),
        ),
        color=intervention_colour(known),
        tooltip=[alt.Tooltip("pair:N"), *tooltip(measure)],
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.8).encode(
            x=cost_axis(measure, alt.X, "_low"), x2=alt.X2(f"{measure}_high")
        ),
        base.mark_point(filled=True, size=70, opacity=1).encode(x=cost_axis(measure, alt.X)),
    )
    draw_chart(chart.properties(height=alt.Step(30)), alt="Added loss of each intervention on every layer pair")
    counted(known)
