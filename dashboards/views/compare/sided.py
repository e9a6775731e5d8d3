"""What the panels of two things share: one colour a side, charts on one axis, and the table of differences."""

from collections.abc import Callable, Iterable
from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from warehouse.catalog.compared.statements import SIDES

COLOURS = dict(zip(SIDES, (CATEGORIES[0], CATEGORIES[1])))
score = partial(st.column_config.NumberColumn, format="%.6g")
whole = partial(st.column_config.NumberColumn, format="localized")


def side_colour() -> alt.Color:
    """The colour of each side, with a legend."""
    return alt.Color(
        "side:N",
        title=None,
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
        legend=alt.Legend(orient="top"),
    )


def differences(rows: pl.DataFrame) -> None:
    """Both values of each quantity, and their difference with its interval."""
    st.dataframe(
        rows,
        hide_index=True,
        height="content",
        placeholder="–",
        column_order=[
            "quantity",
            "left_value",
            "right_value",
            "difference",
            "difference_low",
            "difference_high",
            "paired_by",
            "n_paired",
            "unit",
            "left_low",
            "left_high",
            "left_n",
            "right_low",
            "right_high",
            "right_n",
            "n_of",
        ],
        column_config={
            "quantity": st.column_config.TextColumn("quantity", width=230),
            "left_value": score("left"),
            "right_value": score("right"),
            "difference": score("right less left"),
            "difference_low": score("from", width=85),
            "difference_high": score("to", width=85),
            "paired_by": "paired by",
            "n_paired": whole("pairs"),
            "left_low": score("left from"),
            "left_high": score("left to"),
            "left_n": whole("left n"),
            "right_low": score("right from"),
            "right_high": score("right to"),
            "right_n": whole("right n"),
            "n_of": "n of",
        },
    )


def histograms(
    rows: pl.DataFrame, x: alt.X, upper: str, y_title: str, tooltip: Iterable[alt.Tooltip], *, height: int = 300
) -> alt.Chart:
    """Bars of ``share`` over the bins of each side, which begin at ``x`` and end at ``upper``, both sides one over the other."""
    return (
        alt.Chart(rows, height=height)
        .mark_bar(opacity=0.55)
        .encode(
            x=x,
            x2=alt.X2(f"{upper}:Q"),
            y=alt.Y("share:Q", title=y_title, stack=None, axis=alt.Axis(format="%")),
            y2=alt.Y2Datum(0),
            color=side_colour(),
            tooltip=[alt.Tooltip("side:N"), *tooltip],
        )
    )


def side_by_side(rows: pl.DataFrame, draw: Callable[[pl.DataFrame], None]) -> None:
    """The rows of each side in a column of its own."""
    for side, place in zip(SIDES, st.columns(2)):
        with place:
            st.html(f"<b style='color:{COLOURS[side]}'>■ {side}</b>")
            own = rows.filter(rows["side"] == side)
            if own.is_empty():
                st.caption("Nothing is stored of it.")
            else:
                draw(own)


def span(rows: pl.DataFrame, *columns: str) -> list[float]:
    """From the least to the largest value of columns, 0 included: the axis that both sides share."""
    values = [0.0, *(float(value) for column in columns for value in rows[column].drop_nulls())]
    return [min(values), max(values)]


def curves(
    rows: pl.DataFrame,
    x: alt.X,
    y: str,
    title: str,
    tooltip: Iterable[alt.Tooltip],
    *,
    scale: alt.Scale | None = None,
    points: bool = True,
) -> alt.LayerChart | alt.FacetChart:
    """A line a side, with points or without, and intervals where there are columns ``y_low`` and ``y_high``."""
    scale = alt.Scale() if scale is None else scale
    base = alt.Chart(rows).encode(x=x, color=side_colour(), tooltip=[alt.Tooltip("side:N"), *tooltip])
    vertical = alt.Y(f"{y}:Q", title=title, scale=scale)
    layers = [base.mark_line().encode(y=vertical)]
    if points:
        layers.append(base.mark_point(filled=True, size=35, opacity=1).encode(y=vertical))
    if f"{y}_low" in rows.columns:
        ends = alt.Y(f"{y}_low:Q", title=title, scale=scale)
        layers.append(base.mark_rule(opacity=0.6).encode(y=ends, y2=alt.Y2(f"{y}_high:Q")))
    return alt.LayerChart(layer=layers, height=300)


def scatter(rows: pl.DataFrame, left: str, right: str, title: str, tooltip: list[alt.Tooltip]) -> None:
    """One point a row, left against right on axes of one length, with the line on which nothing differs."""
    ends = span(rows, left, right)
    domain = alt.Scale(domain=ends)
    line = alt.Chart(pl.DataFrame({"from": ends[:1], "to": ends[1:]}))
    diagonal = line.mark_rule(strokeDash=[4, 4], color="#888888").encode(
        x=alt.X("from:Q"), y=alt.Y("from:Q"), x2=alt.X2("to:Q"), y2=alt.Y2("to:Q")
    )
    points = (
        alt.Chart(rows)
        .mark_circle(size=28, opacity=0.6, color=CATEGORIES[2])
        .encode(
            x=alt.X(f"{left}:Q", title=f"{title}, left", scale=domain),
            y=alt.Y(f"{right}:Q", title=f"{title}, right", scale=domain),
            tooltip=tooltip,
        )
    )
    draw_chart(alt.layer(diagonal, points).properties(height=360), alt=f"{title}: left against right")


__all__ = [
    "COLOURS",
    "curves",
    "differences",
    "histograms",
    "number",
    "scatter",
    "score",
    "side_by_side",
    "side_colour",
    "span",
    "whole",
]
