"""Panels of two SAEs."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.views.compare.sided import score, side_colour, whole


def _density(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=300)
        .mark_bar(opacity=0.55)
        .encode(
            x=alt.X(
                "rate_from:Q",
                title="activation rate (share of tokens)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", grid=False),
            ),
            x2="rate_to",
            y=alt.Y("share:Q", title="share of features", stack=None, axis=alt.Axis(format="%")),
            y2=alt.datum(0),
            color=side_colour(),
            tooltip=[
                "side:N",
                number("rate_from", "from", ".3~g"),
                number("rate_to", "to", ".3~g"),
                number("share", "share", ".2%"),
                number("n_features", "features", ",d"),
                number("n_all", "of", ",d"),
            ],
        )
    )
    draw_chart(chart, alt="Histograms: share of the features of both SAEs by activation rate")


def _agreement(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        column_config={
            "n_pairs": whole("pairs"),
            "mean_cosine": score("mean cosine"),
            "share_same": st.column_config.NumberColumn("at least 0.9", format="percent"),
            "by_chance": score("by chance"),
        },
    )


def _matches(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        placeholder="–",
        column_order=[
            "left_feature",
            "right_feature",
            "decoder_cosine",
            "by_chance",
            "left_promotes",
            "right_promotes",
        ],
        column_config={
            "left_feature": st.column_config.NumberColumn("left feature", format="%d"),
            "right_feature": st.column_config.NumberColumn("right feature", format="%d"),
            "decoder_cosine": score("decoder cosine"),
            "by_chance": score("by chance"),
            "left_promotes": st.column_config.ListColumn("left promotes"),
            "right_promotes": st.column_config.ListColumn("right promotes"),
        },
    )
    st.caption(f"n = {rows['n_pairs'][0]:,} pairs.")


DRAW = {"Activation rates": _density, "Agreement": _agreement, "Matched features": _matches}
