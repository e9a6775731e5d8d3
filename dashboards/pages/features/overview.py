"""All features of the SAEs at once: how often they are active against how well they are transported, and verdicts."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.pages.features.search import JUDGED, Search
from dashboards.ui.charts import VERDICTS, coloured
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

EVALUATE = "There are no scores of ridge operators yet: `ato run evaluate` makes them."


def overview(search: Search) -> None:
    """Distributions over all features of the chosen SAE, or of all SAEs of the collection."""
    filters = "collection = $collection" + (" and sae = $sae" if search.sae else "")
    left, right = st.columns(2)
    with left:
        panel(
            "Activation rate against r2",
            _filled(RATES, search, filters),
            _rates,
            empty=EVALUATE,
            note="How many features fall into each cell, at the leap chosen above. r2 of the ridge operator's prediction along the "
            "feature's direction, over the test tokens on which the feature is active: 1 is perfect, 0 no better than the mean. "
            "Features active on too few tokens have no r2 and are left out; those below -1 are counted at the lower edge.",
        )
    with right:
        panel(
            "Verdicts by leap",
            _filled(VERDICT_COUNTS, search, filters),
            _verdicts,
            empty=EVALUATE,
            note="Transported: the 95 % interval of r2 (documents resampled) lies above the upper threshold of the settings; "
            "synthesised: below the lower one; undetermined: neither, or active on too few tokens.",
        )


def _filled(sql: str, search: Search, filters: str) -> str:
    return filled(
        sql.format(judged=JUDGED.format(filters=filters), filters=filters),
        collection=search.collection,
        sae=search.sae,
        leap=search.leap,
    )


def _rates(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=380)
        .mark_rect()
        .encode(
            x=alt.X(
                "rate_low:Q", title="activation rate (share of test tokens)", scale=alt.Scale(type="log", nice=False)
            ),
            x2="rate_high:Q",
            y=alt.Y("r2_low:Q", title="r2 on active tokens", scale=alt.Scale(domain=[-1, 1])),
            y2="r2_high:Q",
            color=alt.Color(
                "n_features:Q", title="features", scale=alt.Scale(type="log"), legend=alt.Legend(orient="top")
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
    st.altair_chart(chart, alt="Heat map: number of features by activation rate and r2")


def _verdicts(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows, height=380)
        .mark_bar()
        .encode(
            x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("n_features:Q", title="features, summed over target layers"),
            color=coloured("verdict", VERDICTS, "verdict").legend(orient="top", title=None),
            tooltip=[
                "leap",
                "verdict",
                alt.Tooltip("n_features:Q", title="features", format=","),
                alt.Tooltip("n_pairs:Q", title="pairs of layers"),
            ],
        )
    )
    st.altair_chart(chart, alt="Stacked bars: features by verdict at each leap")


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
VERDICT_COUNTS = """with {judged}

select leap, verdict, count(*) as n_features, count(distinct operator) as n_pairs
from feature_transport
semi join judged using (evaluation, sae, operator)
where {filters}
group by leap, verdict
order by leap, verdict"""
