"""Panels of two features."""

import html
from collections.abc import Callable
from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.text.display import visible
from dashboards.ui.charts import number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.tables import table
from dashboards.ui.windows import coloured, leads_to_text
from dashboards.views.compare.sided import COLOURS, curves, histograms, score, side_by_side, side_colour, span

LEAST_R2 = -1.0
"""Lowest possible end of the axis of r2."""


def _transport(rows: pl.DataFrame) -> None:
    low = max(LEAST_R2, span(rows, "r2", "r2_low")[0])
    scale = alt.Scale(domain=[low, 1], clamp=True)
    x = alt.X(
        "source_layer:Q",
        title="source layer",
        axis=alt.Axis(tickMinStep=1, format="d"),
        scale=alt.Scale(zero=False, padding=14),
    )
    tooltip = [
        number("source_layer", "from layer", "d"),
        number("target_layer", "to layer", "d"),
        number("r2", "r2"),
        number("r2_low", "95 % from"),
        number("r2_high", "to"),
        number("ceiling", "ceiling"),
        number("n_active", "active test tokens", ",d"),
    ]
    ceiling = (
        alt.Chart(rows)
        .mark_line(strokeDash=[5, 3], opacity=0.7)
        .encode(x=x, y=alt.Y("ceiling:Q", title="r2 on active tokens"), color=side_colour())
    )
    chart = alt.layer(ceiling, curves(rows, x, "r2", "r2 on active tokens", tooltip, scale=scale))
    draw_chart(chart.properties(height=300), alt="r2 of both features by source layer, with ceilings")


def _activations(rows: pl.DataFrame) -> None:
    x = alt.X(
        "low:Q",
        title="activation",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~g", grid=False),
    )
    tooltip = [
        number("low", "from", ".3~g"),
        number("high", "to", ".3~g"),
        number("share", "share", ".1%"),
        number("n", "tokens", ",d"),
        number("n_active", "active tokens", ",d"),
    ]
    chart = histograms(rows, x, "high", "share of active tokens", tooltip, height=260)
    draw_chart(chart, alt="Histograms: active tokens of both features by activation")


def _logits(rows: pl.DataFrame) -> None:
    domain = span(rows, "logit")
    side_by_side(rows, partial(_logits_of_one, domain))


def _logits_of_one(domain: list[float], rows: pl.DataFrame) -> None:
    for direction in ("promoted", "suppressed"):
        shown = rows.filter(rows["direction"] == direction)
        if shown.is_empty():
            continue
        base = alt.Chart(shown).encode(
            x=alt.X("logit:Q", title=f"logit, {direction}", scale=alt.Scale(domain=domain)),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, labelOverlap=False)),
            tooltip=[alt.Tooltip("token:N", title="token"), number("logit", "logit")],
        )
        colour = COLOURS[shown["side"][0]]
        draw_chart(
            base.mark_bar(color=colour).properties(height=alt.Step(18)),
            alt=f"Bars: logits of the tokens that are {direction}",
        )


def _windows_of_one(rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        st.html(coloured(row["tokens"], row["activations"], row["largest"], row["position"] - row["start"]))
        leads_to_text(row, row["collection"], f"{row['activation']:.3f}, ")


def _labels_of_one(rows: pl.DataFrame) -> None:
    for row in rows.iter_rows(named=True):
        said = html.escape(visible(" · ".join(_said(row))))
        text = html.escape(visible(row["description"] or "no description", keep="\n"))
        st.html(f"<p style='margin:0'>{text}</p><small style='opacity:.7'>{said}</small>")


def _said(row: dict[str, Any]) -> list[str]:
    parts = [row["source"]] + (["FAILS"] if row["failed"] else [])
    if row["detection"] is not None:
        parts.append(f"detection {row['detection']:.2f} [{row['detection_low']:.2f}, {row['detection_high']:.2f}]")
    return parts + ([] if row["reason"] is None else [row["reason"]])


def _links(rows: pl.DataFrame) -> None:
    table(rows, {"value": score("value"), "low": score("from"), "high": score("to")})


DRAW: dict[str, Callable[[pl.DataFrame], None]] = {
    "r2 by source layer": _transport,
    "Activations": _activations,
    "Logit lens": _logits,
    "Strongest examples": partial(side_by_side, draw=_windows_of_one),
    "Labels": partial(side_by_side, draw=_labels_of_one),
    "What links them": _links,
}
