"""Transport of one feature from every source layer: how far back it is transported, by which operator."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.operators.methods import BASELINES
from dashboards.ui.address import choose
from dashboards.ui.charts import VERDICT_MEANINGS, coloured, method_colours, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.tables import headings

LEAST_R2 = -0.2
"""Lowest possible end of the vertical axis: baselines lie far below, and would squash what is of interest."""
APART = 11
"""Pixels between the marks of two methods that both lie below the axis."""

GREY = "#888888"


POLICIES = """select distinct position_policy
from operators
where collection = $collection and target_layer = $layer
order by position_policy = 'same' desc, position_policy"""

PROFILE = """select method, leap, source_layer, target_layer, position_policy, operator, n_active, r2, r2_low, r2_high, ceiling,
    ceiling_low, ceiling_high, skill, verdict, transported_from, transported_leap,
    stops_at_leap, stops_as
from feature_profile
where collection = $collection and sae = $sae and feature_id = $feature_id and position_policy = $position_policy
order by method <> 'ridge', method, leap"""


def transport(about: dict[str, Any]) -> None:
    """r2 by leap for each method, where each method stops, and a table of the operators."""
    policies = ask(filled(POLICIES, **about))["position_policy"].to_list()
    policy = choose("Source position", "position_policy", policies) if len(policies) > 1 else (*policies, "same")[0]
    panel(
        "Where does it stop being transported?",
        filled(PROFILE, position_policy=policy, **about),
        _profile,
        note="r2 along the feature's direction, over the test tokens where it is active: 1 is perfect, 0 no better "
        "than the mean; bars are 95 % intervals by document. `identity` takes the source residual itself, `mean` the "
        "mean of the train tokens. Ceiling: r2 on the same tokens of the best linear combination of x and the operators' "
        "predictions, fitted on other documents; the band is its 95 % interval. Skill: 1 - squared error / squared "
        "error of the identity map. A method stops at the first leap where the feature is not "
        f"transported. {VERDICT_MEANINGS} ▼: r2 lies below the axis, which ends at {LEAST_R2:g}; hover for its value. "
        "Tick a row to open its operator.",
        empty="No operators into this layer evaluated yet: run `ato run evaluate`.",
    )


def _profile(rows: pl.DataFrame) -> None:
    _stops(rows)
    if rows["r2"].null_count() == rows.height:
        st.info(f"Not scored: active on at most {max(rows['n_active']):,} test tokens, too few for an r2.")
    else:
        draw_chart(_chart(rows), alt="Lines: r2 of the feature by leap, with intervals, a line for each method")
    columns = [
        "source_layer",
        "leap",
        "method",
        "verdict",
        "r2",
        "r2_low",
        "r2_high",
        "skill",
        "ceiling",
        "n_active",
        "operator",
    ]
    clicked = st.dataframe(
        rows.select(columns),
        hide_index=True,
        key="judged",
        on_select="rerun",
        selection_mode="single-row",
        placeholder="not scored",
        column_config={
            "source_layer": st.column_config.NumberColumn("source layer", format="%d"),
            "n_active": st.column_config.NumberColumn("active test tokens"),
        }
        | headings(["r2", "r2_low", "r2_high", "skill", "ceiling"], "%.3f"),
    )
    for place in clicked["selection"]["rows"]:
        row = rows.row(place, named=True)
        go(
            "operators",
            **{name: row[name] for name in ("source_layer", "target_layer", "method", "position_policy", "operator")},
        )


def _stops(rows: pl.DataFrame) -> None:
    """One tile per trained method: the leap up to which it transports the feature, and where and how it stops."""
    with st.container(horizontal=True):
        for row in rows.unique("method", keep="first", maintain_order=True).iter_rows(named=True):
            if row["method"] == "identity" or row["method"] not in BASELINES:
                at, far = row["stops_at_leap"], row["transported_leap"]
                st.metric(
                    row["method"],
                    f"to leap {far}" if far is not None else "at no leap",
                    width="content",
                    delta="does not stop" if at is None else f"stops at leap {at}: {row['stops_as']}",
                    delta_color="off",
                    delta_arrow="off",
                    help="Largest leap such that it is transported over all leaps up to it",
                )


def _below(base: alt.Chart, rows: pl.DataFrame, lowest: float, scale: alt.Scale) -> list[alt.Chart]:
    """Marks at the lower edge for values below it, those of one leap beside each other."""
    outside = rows.filter(pl.col("r2") < lowest)
    methods = outside["method"].unique(maintain_order=True).to_list()
    middle = (len(methods) - 1) / 2
    return [
        base.transform_filter((alt.datum.method == method) & (alt.datum.r2 < lowest))
        .mark_point(filled=True, size=70, opacity=1, shape="triangle-down", xOffset=APART * (i - middle), yOffset=-5)
        .encode(y=alt.YDatum(lowest, title="r2 on active test tokens", scale=scale))
        for i, method in enumerate(methods)
    ]


def _chart(rows: pl.DataFrame) -> alt.LayerChart | alt.FacetChart:
    main = "ridge" if "ridge" in rows["method"] else rows["method"][0]
    own = rows.filter(rows["method"] == main)
    colours = method_colours(rows["method"].unique(maintain_order=True).to_list())
    legend = alt.Legend(orient="top", title=None)
    leaps = sorted(set(rows["leap"]))
    lowest = max(LEAST_R2, min(0.0, *rows["r2_low"].drop_nulls(), *rows["r2"].drop_nulls()))
    x = alt.X(
        "leap:Q",
        title="leap (layers)",
        axis=alt.Axis(values=leaps, tickCount=len(leaps), format="d"),
        scale=alt.Scale(nice=False, zero=False, padding=25),
    )
    scale = alt.Scale(domain=[lowest, 1], nice=False)
    y = alt.Y("r2:Q", title="r2 on active test tokens", scale=scale)
    low = alt.Y("r2_low:Q", title="r2 on active test tokens", scale=scale)
    base = alt.Chart(rows).encode(
        x=x,
        color=coloured("method", colours, "method").legend(legend),
        tooltip=[
            alt.Tooltip("method"),
            alt.Tooltip("source_layer", title="source layer"),
            alt.Tooltip("leap"),
            number("r2", "r2"),
            number("r2_low", "95 % from"),
            number("r2_high", "to"),
            number("ceiling", "ceiling"),
            number("ceiling_low", "ceiling, 95 % from"),
            number("ceiling_high", "to"),
            alt.Tooltip("verdict"),
            alt.Tooltip("n_active:Q", title="active test tokens", format=","),
        ],
    )
    ceiling = alt.Chart(own).encode(x=x, y=alt.Y("ceiling:Q", title="r2 on active test tokens", scale=scale))
    band = ceiling.encode(
        y=alt.Y("ceiling_low:Q", title="r2 on active test tokens", scale=scale), y2=alt.Y2("ceiling_high:Q")
    )
    layers = [
        band.mark_area(opacity=0.15, color=GREY, clip=True),
        ceiling.mark_line(strokeDash=[6, 4], color=GREY, clip=True),
        alt.Chart(own.head(1))
        .mark_text(align="left", dy=-8, color=GREY)
        .encode(x=x, y=ceiling.encoding.y, text=alt.TextValue("ceiling")),
        base.mark_line(opacity=0.8, clip=True).encode(y=y),
        base.mark_rule(strokeWidth=1.5, opacity=0.7, clip=True).encode(y=low, y2=alt.Y2("r2_high:Q")),
        base.mark_point(filled=True, size=50, opacity=1, clip=True).encode(
            y=y, shape=alt.Shape("method:N", legend=legend)
        ),
        *_below(base, rows, lowest, scale),
    ]
    if not (stop := own.filter(own["leap"] == own["stops_at_leap"])).is_empty():
        at = alt.Chart(stop).encode(x=x)
        said = at.mark_text(align="left", dx=4, color=GREY).encode(y=alt.YValue(8), text=alt.TextValue(f"{main} stops"))
        layers = [at.mark_rule(strokeDash=[2, 3], color=GREY), said, *layers]
    return alt.layer(*layers, height=420)
