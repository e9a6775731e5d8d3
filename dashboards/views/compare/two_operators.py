"""Panels of two operators."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.views.compare.sided import curves, scatter

LOWEST = -1.0
"""Efficiencies below it are drawn there."""


def _features(rows: pl.DataFrame) -> None:
    first = rows.row(0, named=True)
    shown = "" if rows.height == first["n_features"] else f", {rows.height:,} of them drawn"
    st.caption(f"n = {first['n_features']:,} features of {first['sae']}{shown}.")
    scatter(
        rows,
        "left_drawn",
        "right_drawn",
        "r2",
        [
            number("feature_id", "feature", "d"),
            number("left_r2", "r2 left"),
            number("left_r2_low", "95 % from"),
            number("left_r2_high", "to"),
            number("right_r2", "r2 right"),
            number("right_r2_low", "95 % from "),
            number("right_r2_high", "to "),
            number("difference", "right less left"),
            number("left_n_active", "active tokens", ",d"),
        ],
    )


def _spectra(rows: pl.DataFrame) -> None:
    chart = curves(
        rows,
        alt.X("mode:Q", title="mode", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="d", tickCount=6)),
        "singular_value",
        "singular value",
        [
            number("mode", "mode", "d"),
            number("singular_value", "singular value", ".4~g"),
            number("n_modes", "modes", ",d"),
        ],
        scale=alt.Scale(type="log"),
        points=False,
    )
    draw_chart(chart, alt="Singular values of both operators by mode")


def _efficiency(rows: pl.DataFrame) -> None:
    chart = curves(
        rows,
        alt.X(
            "rank:Q",
            title="rank",
            scale=alt.Scale(type="log", base=2, nice=False, padding=10),
            axis=alt.Axis(format="d"),
        ),
        "efficiency",
        "transport efficiency",
        [
            number("rank", "rank", "d"),
            number("efficiency", "efficiency"),
            number("efficiency_low", "95 % from"),
            number("efficiency_high", "to"),
            number("ceiling_held_out", "ceiling, held out"),
            number("n_test", "test tokens", ",d"),
        ],
        scale=alt.Scale(domainMin=max(LOWEST, min([0.0, *rows["efficiency"].drop_nulls()])), clamp=True),
    )
    draw_chart(chart, alt="Transport efficiency of both layer pairs by rank")


DRAW = {"r2 of shared features": _features, "Spectra": _spectra, "Efficiency by rank": _efficiency}
