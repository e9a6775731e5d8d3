"""Distributions over all features of the SAEs: activation rate against r2, and verdicts by leap."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import COUNTS, VERDICT_MEANINGS, verdict_colours
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_EVALUATIONS
from dashboards.views.features.query import Search

EMPTY = "No feature scored by ridge operators at this leap: run `ato run evaluate`."


def distributions(search: Search) -> None:
    """Both panels, over all features of the chosen SAE or of all SAEs."""
    left, right = st.columns(2)
    with left:
        rates(search)
    with right:
        verdicts(search)


def _filled(sql: str, search: Search) -> str:
    filters = "collection = $collection" + (" and sae = $sae" if search.sae else "")
    template = sql.format(judged=LATEST_EVALUATIONS.format(filters=filters), filters=filters)
    return filled(template, collection=search.collection, sae=search.sae, leap=search.leap)


RATES = """with {judged},

binned as (
    select
        floor(5 * log10(activation_rate))::integer as rate_bin,
        greatest(floor(20 * r2), -20)::integer as r2_bin,
        count(*) as n_features
    from feature_transport
    semi join judged using (evaluation, sae, operator)
    where {filters} and leap = $leap and r2 is not null and activation_rate > 0
    group by all
)

select
    power(10, rate_bin / 5) as rate_low,
    power(10, (rate_bin + 1) / 5) as rate_high,
    r2_bin / 20 as r2_low,
    (r2_bin + 1) / 20 as r2_high,
    n_features
from binned
order by rate_low, r2_low"""


def rates(search: Search) -> None:
    """Features by activation rate and r2, at the leap of the search."""
    panel(
        "Activation rate against r2",
        _filled(RATES, search),
        _rates,
        empty="No scored feature at this leap: choose another, or run `ato run evaluate`.",
        note="Features per cell, at the leap chosen above. r2 of the ridge operator along the feature's direction, "
        "over the test tokens where the feature is active: 1 is perfect, 0 no better than the mean. Features active on "
        "too few tokens have no r2 and are left out; values below -1 are counted at the lower edge.",
    )


def _rates(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=380)
        .mark_rect()
        .encode(
            x=alt.X(
                "rate_low:Q", title="activation rate (share of test tokens)", scale=alt.Scale(type="log", nice=False)
            ),
            x2=alt.X2("rate_high:Q"),
            y=alt.Y("r2_low:Q", title="r2 on active tokens", scale=alt.Scale(domain=[-1, 1])),
            y2=alt.Y2("r2_high:Q"),
            color=alt.Color(
                "n_features:Q",
                title="features",
                scale=COUNTS,
                legend=alt.Legend(orient="top"),
            ),
            tooltip=[
                alt.Tooltip("rate_low:Q", title="rate from", format=".2~%"),
                alt.Tooltip("rate_high:Q", title="to", format=".2~%"),
                alt.Tooltip("r2_low:Q", title="r2 from", format=".2f"),
                alt.Tooltip("r2_high:Q", title="to", format=".2f"),
                alt.Tooltip("n_features:Q", title="features"),
            ],
        )
    )
    draw_chart(chart, alt="Heat map: number of features by activation rate and r2")


VERDICT_COUNTS = """with {judged}

select leap, verdict, count(*) as n_features, count(distinct operator) as n_pairs
from feature_transport
semi join judged using (evaluation, sae, operator)
where {filters}
group by leap, verdict
order by leap, verdict"""


def verdicts(search: Search) -> None:
    """Features by verdict at each leap."""
    panel(
        "Verdicts by leap",
        _filled(VERDICT_COUNTS, search),
        _verdicts,
        empty=EMPTY,
        note=f"{VERDICT_MEANINGS} Features active on too few tokens are undetermined.",
    )


def _verdicts(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=380)
        .mark_bar()
        .encode(
            x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("n_features:Q", title="features, summed over target layers"),
            color=verdict_colours(),
            tooltip=[
                alt.Tooltip("leap"),
                alt.Tooltip("verdict"),
                alt.Tooltip("n_features:Q", title="features", format=","),
                alt.Tooltip("n_pairs:Q", title="layer pairs"),
            ],
        )
    )
    draw_chart(chart, alt="Stacked bars: features by verdict at each leap")
