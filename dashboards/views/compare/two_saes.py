"""Panels of two SAEs."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.tables import table
from dashboards.views.compare.sided import histograms, score, whole


def _density(rows: pl.DataFrame) -> None:
    x = alt.X(
        "rate_from:Q",
        title="activation rate (share of tokens)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~g", grid=False),
    )
    tooltip = [
        number("rate_from", "from", ".3~g"),
        number("rate_to", "to", ".3~g"),
        number("share", "share", ".2%"),
        number("n_features", "features", ",d"),
        number("n_all", "of", ",d"),
    ]
    chart = histograms(rows, x, "rate_to", "share of features", tooltip)
    draw_chart(chart, alt="Histograms: share of the features of both SAEs by activation rate")


def _agreement(rows: pl.DataFrame) -> None:
    columns = {
        "n_pairs": whole("pairs"),
        "mean_cosine": score("mean cosine"),
        "share_same": st.column_config.NumberColumn("at least 0.9", format="percent"),
        "by_chance": score("by chance"),
    }
    table(rows, columns)


def _matches(rows: pl.DataFrame) -> None:
    columns = {
        "left_feature": st.column_config.NumberColumn("left feature", format="%d"),
        "right_feature": st.column_config.NumberColumn("right feature", format="%d"),
        "decoder_cosine": score("decoder cosine"),
        "by_chance": score("by chance"),
        "left_promotes": st.column_config.ListColumn("left promotes"),
        "right_promotes": st.column_config.ListColumn("right promotes"),
    }
    table(rows, columns, order=list(columns))
    st.caption(f"n = {rows['n_pairs'][0]:,} pairs.")


DRAW = {"Activation rates": _density, "Agreement": _agreement, "Matched features": _matches}
