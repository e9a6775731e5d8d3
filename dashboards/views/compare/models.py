"""Panels of the page ``compare``: all models at once."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import table
from dashboards.views.compare.about import EMPTY

TRAJECTORY = """select place, other_model, source_layer || ' → ' || target_layer as layers, sae, n_features, n_documents,
    mean_difference, mean_difference_low, mean_difference_high, share_changed
from latest_comparisons where collection = $collection
order by source_layer, target_layer, sae, place"""
DISTANCES = """select place, other_model, source_layer, target_layer, n_features, n_changed, share_changed, n_verdicts_changed,
    mean_difference, mean_difference_low, mean_difference_high, mean_loss, mean_loss_low, mean_loss_high,
    relative_distance, other_collection, sae
from latest_comparisons where collection = $collection
order by place, source_layer, target_layer, sae"""


def trajectory(collection: str) -> None:
    """Mean difference of r2 by model, in the order of checkpoints, a line a pair."""
    panel(
        "Transport in other models",
        filled(TRAJECTORY, collection=collection),
        _trajectory,
        note="Mean over the features scored in both models of r2 there less r2 here, each by its own operator on its own "
        "residuals, with the 95 % interval by document, a document left out of both models at once. 0: the same as here.",
        empty=EMPTY,
    )


def _trajectory(rows: pl.DataFrame) -> None:
    order = rows.sort("place")["other_model"].unique(maintain_order=True).to_list()
    x = alt.X("other_model:N", sort=order, title=None, axis=alt.Axis(labelAngle=0))
    base = alt.Chart(rows).encode(
        x=x,
        color=alt.Color("layers:N", title="layers", legend=alt.Legend(orient="top")),
        tooltip=[
            alt.Tooltip("other_model:N", title="other model"),
            alt.Tooltip("layers:N"),
            number("mean_difference", "mean difference of r2"),
            number("mean_difference_low", "from"),
            number("mean_difference_high", "to"),
            number("n_features", "features", ",d"),
            number("n_documents", "documents", ",d"),
            number("share_changed", "share changed", ".1%"),
        ],
    )
    zero = base.mark_rule(strokeDash=[4, 4], opacity=0.6, color="#888888").encode(y=alt.YDatum(0))
    chart = alt.layer(
        zero,
        base.mark_rule(opacity=0.6).encode(
            y=alt.Y("mean_difference_low:Q", title="mean difference of r2"), y2=alt.Y2("mean_difference_high:Q")
        ),
        base.mark_line(point=True).encode(y=alt.Y("mean_difference:Q")),
    )
    draw_chart(chart.properties(height=280), alt="Mean difference of r2 in each other model, by pair of layers")


def distances(collection: str) -> None:
    """All comparisons as a table."""
    panel(
        "Comparisons",
        filled(DISTANCES, collection=collection),
        _table,
        note="Changed: features whose r2 differs at the false discovery rate of the settings, by at least the smallest change. "
        "Loss: what r2 in the other model loses when this model's operator takes the place of its own. Distance: "
        "the Frobenius norm of the difference of the two operators, over that of this model's.",
        empty=EMPTY,
    )


def _table(rows: pl.DataFrame) -> None:
    column, score = st.column_config.NumberColumn, partial(st.column_config.NumberColumn, format="%.3f")
    table(
        rows.drop("place", "other_collection"),
        {
            "other_model": "other model",
            "source_layer": column("source layer", format="%d"),
            "target_layer": column("target layer", format="%d"),
            "n_features": column("features", format="localized"),
            "n_changed": column("changed", format="localized"),
            "share_changed": column("share changed", format="percent"),
            "n_verdicts_changed": column("verdicts changed", format="localized"),
            "mean_difference": score("mean difference"),
            "mean_difference_low": score("95 % from"),
            "mean_difference_high": score("to"),
            "mean_loss": score("mean loss"),
            "mean_loss_low": score("95 % from"),
            "mean_loss_high": score("to"),
            "relative_distance": score("distance"),
            "sae": "SAE",
        },
    )
