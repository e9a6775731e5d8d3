"""Panels of two graphs."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.tables import table
from dashboards.views.compare.sided import scatter, score, whole


def _overlap(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "n_left": whole("left"),
            "n_right": whole("right"),
            "n_both": whole("both"),
            "jaccard": score("Jaccard"),
            "correlation": score("correlation of weights"),
        },
    )


def _nodes(rows: pl.DataFrame) -> None:
    table(
        rows.drop("sae", "feature_id", "n_shared"),
        {
            "name": "node",
            "layer": st.column_config.NumberColumn("layer", format="%d"),
            "left_influence": score("influence, left"),
            "right_influence": score("influence, right"),
            "left_activation": score("activation, left"),
            "right_activation": score("activation, right"),
            "left_nodes": whole("positions, left"),
            "right_nodes": whole("positions, right"),
            "left_tokens": st.column_config.ListColumn("on tokens, left"),
            "right_tokens": st.column_config.ListColumn("on tokens, right"),
        },
    )
    st.caption(f"n = {rows['n_shared'][0]:,} shared nodes.")


def _edges(rows: pl.DataFrame) -> None:
    st.caption(f"n = {rows['n_shared'][0]:,} shared edges.")
    scatter(
        rows,
        "left_weight",
        "right_weight",
        "direct effect",
        [
            alt.Tooltip("source:N"),
            alt.Tooltip("target:N"),
            number("left_weight", "left"),
            number("right_weight", "right"),
            number("difference", "right less left"),
            number("left_edges", "edges left", "d"),
            number("right_edges", "edges right", "d"),
        ],
    )


DRAW = {"What both have": _overlap, "Shared nodes": _nodes, "Shared edges": _edges}
