"""Panels of the page ``compare``: the features of one pair in one other model."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.compact import compact
from dashboards.ui.drawing import draw_chart
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import ticked
from dashboards.views.compare.about import EMPTY

SHOWN = 200
"""Rows at most; the SQL page has all."""
LEAST = -1.0
"""Scores below are drawn here."""
OF_PAIR = """from compared_features
where collection = $collection and other_collection = $other and source_layer = $source_layer
    and target_layer = $target_layer and sae = $sae and difference is not null"""
SCATTER = f"""select feature_id, r2::float as r2, other_r2::float as other_r2, difference::float as difference,
    difference_low::float as difference_low, difference_high::float as difference_high, q::float as q,
    if(changed, 'changed', 'not changed') as what, array_to_string(top_tokens[:3], ' ') as promotes
{OF_PAIR}
order by changed, feature_id"""
"""Half-size numbers: all features of an SAE are sent."""
CHANGED = f"""select feature_id, difference, difference_low, difference_high, q, r2, other_r2, r2_transferred, loss, n_active,
    other_n_active, verdict, other_verdict, top_tokens[:5] as promotes, sae
{OF_PAIR} and changed
order by abs(difference) desc, feature_id
limit {SHOWN}"""
COLOURS = {"changed": "#D55E00", "not changed": "#999999"}


def scatter(about: dict[str, Any]) -> None:
    """Every feature by its r2 here and there."""
    panel(
        "Features here and there",
        filled(SCATTER, **about),
        _scatter,
        note=f"r2 of each feature in this model and in the other, each by its own operator; scores below {LEAST:g} are drawn at "
        f"{LEAST:g}. On the line nothing differs.",
        empty=EMPTY,
    )


def _scatter(rows: pl.DataFrame) -> None:
    points = alt.Chart(compact(rows, ("what",), ("promotes",))).mark_circle(size=28, opacity=0.7)
    tooltip = [
        number("feature_id", "feature", "d"),
        number("r2", "r2 here"),
        number("other_r2", "r2 there"),
        number("difference", "difference"),
        number("difference_low", "95 % from"),
        number("difference_high", "to"),
        number("q", "q"),
        alt.Tooltip("promotes:N"),
    ]
    least = max(LEAST, min(0.0, *rows["r2"], *rows["other_r2"]))
    scale = alt.Scale(domain=[least, 1], clamp=True)
    x = alt.X("r2:Q", title="r2 in this model", scale=scale)
    y = alt.Y("other_r2:Q", title="r2 in the other model", scale=scale)
    colour = alt.Color(
        "what:N",
        title=None,
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
        legend=alt.Legend(orient="top"),
    )
    line = alt.Chart(rows.select("feature_id").head(1)).mark_rule(strokeDash=[4, 4], opacity=0.5, color="#888888")
    ends = {"x": alt.XDatum(least), "y": alt.YDatum(least), "x2": alt.X2Datum(1), "y2": alt.Y2Datum(1)}
    chart = alt.layer(line.encode(**ends), points.encode(x=x, y=y, color=colour, tooltip=tooltip))
    draw_chart(chart.properties(height=360), alt="r2 of each feature in both models")


def changed(about: dict[str, Any]) -> None:
    """The features whose r2 changed, the largest difference first."""
    panel(
        "Features that changed",
        filled(CHANGED, **about),
        _changed,
        note=f"At most {SHOWN} rows. Difference: r2 there less r2 here, with its 95 % interval by document; q: its false discovery "
        "rate over the features of the pair. Transferred: r2 there by this model's operator. Tick a row to open the feature.",
        empty="No feature changed here." if about["other"] else EMPTY,
    )


def _changed(rows: pl.DataFrame) -> None:
    column, score = st.column_config.NumberColumn, partial(st.column_config.NumberColumn, format="%.3f", width=80)
    place = ticked(
        rows,
        {
            "feature_id": column("feature", format="%d", width=70),
            "difference": score("difference"),
            "difference_low": score("95 % from"),
            "difference_high": score("to"),
            "q": column("q", format="%.4f"),
            "r2": score("r2 here"),
            "other_r2": score("r2 there"),
            "r2_transferred": score("transferred"),
            "loss": score("loss"),
            "n_active": column("active tokens here", format="localized"),
            "other_n_active": column("active tokens there", format="localized"),
            "verdict": "verdict here",
            "other_verdict": "verdict there",
            "promotes": st.column_config.ListColumn("promotes"),
            "sae": "SAE",
        },
        key="changed features",
    )
    if place is not None:
        go("features", sae=rows["sae"][place], feature_id=rows["feature_id"][place])
