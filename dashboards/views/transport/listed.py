"""Panel of the page ``transport``: how far back each feature of a list is transported."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import VERDICT_MEANINGS, number, verdict_colours
from dashboards.ui.drawing import draw_chart
from dashboards.ui.lists import LISTED
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

LOWEST = -1.0
"""Lower values of r2 are drawn at this value."""

PROFILES = f"""select sae, target_layer, feature_id, 'L' || target_layer || '/' || feature_id as feature, leap, source_layer, operator,
    n_active, r2, r2_low, r2_high, verdict, stops_at_leap
from feature_profile{LISTED}
where collection = $collection and method = $method and position_policy = $position_policy
order by target_layer, sae, feature_id, leap"""


def listed_features(list_: str, **chosen: object) -> None:
    """r2 by leap of every feature on a list, a small chart each."""
    panel(
        "Features on the list",
        filled(PROFILES, list=list_, **chosen),
        partial(_profiles, list_),
        note=f"r2 of each feature by leap, with its 95 % interval by document, by the chosen method. {VERDICT_MEANINGS} Values below "
        f"{LOWEST:g} are drawn there; features that are active on too few test tokens have none. Tick a row to open the feature.",
        empty="No feature on the list was evaluated here: `ato run evaluate`, or another method.",
    )


def _profiles(list_: str, rows: pl.DataFrame) -> None:
    base = alt.Chart(rows.filter(pl.col("r2").is_not_null())).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        color=verdict_colours(),
        tooltip=[
            alt.Tooltip("feature:N"),
            number("source_layer", "source layer", "d"),
            number("target_layer", "target layer", "d"),
            number("r2", "r2"),
            number("r2_low", "95 % low"),
            number("r2_high", "95 % high"),
            number("n_active", "active test tokens", ",d"),
            alt.Tooltip("sae:N"),
        ],
    )
    scale = alt.Scale(domain=[min(0.0, LOWEST), 1], clamp=True)
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(
            y=alt.Y("r2_low:Q", title="r2", scale=scale), y2=alt.Y2("r2_high:Q")
        ),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=alt.Y("r2:Q", title="r2", scale=scale)),
    ).properties(width=150, height=130)
    order = rows["feature"].unique(maintain_order=True).to_list()
    draw_chart(
        chart.facet(facet=alt.Facet("feature:N", title=None, sort=order), columns=6),
        alt=f"Points with intervals: r2 by leap of each feature on the list {list_}",
        width="content",
    )
    found = st.dataframe(
        rows.drop("feature"),
        hide_index=True,
        key="features on the list",
        on_select="rerun",
        selection_mode="single-row",
        column_config={name: st.column_config.NumberColumn(format="%.3f") for name in ("r2", "r2_low", "r2_high")},
        placeholder="–",
    )
    for place in found["selection"]["rows"]:
        go("features", sae=rows["sae"][place], feature_id=rows["feature_id"][place])
