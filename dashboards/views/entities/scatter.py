"""Panel of the page ``entities``: how often features are active on either class of test entities."""

from dataclasses import replace

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ONE, ROWS, Panel
from dashboards.ui.declared_panel import draw_rows
from dashboards.views.entities.counts import EMPTY

GRID = 30
"""Squares of the picture along each side: SAEs have more features than a browser draws."""

ACTIVE = f"""with features as (
    select l.*
    from entity_latents as l
    semi join latest_entity_results as r
        on r.kind = 'latents' and r.is_latest and r.collection = l.collection and r.result = l.latent_scoring
        and r.contrast = l.contrast and r.template = l.template and r.position = l.position
    where l.collection = $collection and l.contrast = $contrast and l.template = $template
        and l.position = $position and l.entity_type = $entity_type
        and l.f_positive is not null and l.f_negative is not null
),

others as (
    select
        least(floor({GRID} * f_positive), {GRID} - 1) as across, least(floor({GRID} * f_negative), {GRID} - 1) as up,
        count(*) as n_features, max(n_positive) as n_positive, max(n_negative) as n_negative
    from features
    where rank is null
    group by across, up
)

select
    'other' as direction, null::integer as rank, null::integer as layer, null::integer as feature_id, n_features,
    (across + 0.5) / {GRID} as f_positive, (up + 0.5) / {GRID} as f_negative, n_positive, n_negative
from others
union all
select direction, rank, layer, feature_id, 1, f_positive, f_negative, n_positive, n_negative
from features
where rank is not null
order by rank desc nulls first, direction, f_positive, f_negative"""


def _chart(first: str, second: str) -> alt.LayerChart | alt.FacetChart:
    x = alt.X("f_positive:Q", title=f"active on {first}", scale=alt.Scale(domain=[0, 1]))
    y = alt.Y("f_negative:Q", title=f"active on {second}", scale=alt.Scale(domain=[0, 1]))
    return alt.layer(
        alt.Chart(ONE)
        .mark_rule(strokeDash=[4, 4], color="#888888")
        .encode(x=alt.XDatum(0), y=alt.YDatum(0), x2=alt.X2Datum(1), y2=alt.Y2Datum(1)),
        alt.Chart(ROWS)
        .transform_filter("!isValid(datum.rank)")
        .mark_square(size=50, color="#999999")
        .encode(
            x=x,
            y=y,
            opacity=alt.Opacity("n_features:Q", scale=alt.Scale(type="log", range=[0.2, 0.9]), legend=None),
            tooltip=[number("n_features", "features", ",d")],
        ),
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.rank)")
        .mark_point(filled=True, size=90, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "direction:N",
                title="higher on",
                scale=alt.Scale(range=list(CATEGORIES)),
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                alt.Tooltip("direction:N"),
                alt.Tooltip("rank:Q"),
                alt.Tooltip("layer:Q"),
                alt.Tooltip("feature_id:Q", title="feature"),
                number("f_positive", f"active on {first}"),
                number("f_negative", f"active on {second}"),
            ],
        ),
        data=ROWS,
        height=420,
    )


ACTIVITY = Panel(
    "Activity on either class, test",
    ACTIVE,
    note="Coloured: the ranked features, chosen on train. Grey squares: all others, counted on a grid, fuller where "
    "more lie. On the diagonal a feature is active equally often on both classes.",
    empty=EMPTY,
    view="chart",
    chart=_chart("the first class", "the second class"),
    alt="Share of active test entities of both classes for each feature, best ones coloured",
    wide=False,
)


def draw_activity(first: str, second: str, rows: pl.DataFrame) -> None:
    """The chart, and how many entities it is about."""
    draw_rows(replace(ACTIVITY, chart=_chart(first, second)), rows)
    whole = rows.row(0, named=True)
    st.caption(f"Test: {whole['n_positive']:,} {first}, {whole['n_negative']:,} {second}.")
