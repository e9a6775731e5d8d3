"""Panels of the page ``saes``: reconstruction quality, features that never fire, activation rates."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.chart_theme import GREY
from dashboards.ui.charts import CATEGORIES, number, rates_histogram
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

EMPTY = "No SAEs yet: run `ato run saes`."
NOT_COUNTED = "Feature activations have not been counted yet: run `ato run features`."


QUALITY = """select
    sae, layer, site, source, architecture, d_sae, l0, l0_declared, fvu, fvu_low, fvu_high,
    ce_recovered, ce_recovered_low, ce_recovered_high, dead_share, trusted, distrust_reason, warning,
    n_tokens, n_documents, 'layer ' || layer as label
from saes
where collection = $collection
order by layer, sae"""


def quality(collection: str) -> None:
    """Reconstruction quality of each SAE."""
    panel(
        "Quality on held-out text",
        filled(QUALITY, collection=collection),
        _quality,
        empty=EMPTY,
        note="FVU: fraction of variance unexplained. Loss recovered: share of the loss increase from zero ablation "
        "that splicing in the SAE avoids. Intervals are by document. Dead: features that fired on no "
        "evaluated token. An SAE that fails a quality threshold is not trusted; a warning "
        "says where L0 is far from the declared one.",
    )


def _quality(rows: pl.DataFrame) -> None:
    share, score = (
        partial(st.column_config.NumberColumn, format="percent"),
        partial(st.column_config.NumberColumn, format="%.3f"),
    )
    st.dataframe(
        rows.drop("site", "n_documents", "label"),
        hide_index=True,
        column_config={
            "sae": "SAE",
            "d_sae": st.column_config.NumberColumn("features", format="localized"),
            "l0": score("L0", format="%.1f"),
            "l0_declared": score("L0 declared", format="%.0f"),
            "fvu": score("FVU"),
            "fvu_low": score("95 % from"),
            "fvu_high": score("to"),
            "ce_recovered": score("loss recovered"),
            "ce_recovered_low": score("95 % from "),
            "ce_recovered_high": score("to "),
            "dead_share": share("dead"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="localized"),
            "trusted": st.column_config.CheckboxColumn("trusted"),
            "distrust_reason": "why not",
        },
        placeholder="–",
    )


def sparsity(collection: str) -> None:
    """FVU of each SAE against its L0."""
    panel(
        "Sparsity against error",
        filled(QUALITY, collection=collection),
        _sparsity,
        empty=EMPTY,
        note="Lower left is better: few active features, low error. Bars are 95 % intervals by document; labels are "
        "layers.",
    )


def _sparsity(rows: pl.DataFrame) -> None:
    base = alt.Chart(rows).encode(
        x=alt.X(
            "l0:Q",
            title="L0 (active features per token)",
            scale=alt.Scale(zero=False, padding=30),
            axis=alt.Axis(format="~g", tickCount=5),
        ),
        color=alt.Color(
            "trusted:N",
            title=None,
            scale=alt.Scale(domain=[True, False], range=[CATEGORIES[0], CATEGORIES[1]]),
            legend=alt.Legend(labelExpr="datum.value ? 'trusted' : 'not trusted'"),
        ),
        tooltip=[
            alt.Tooltip("sae:N"),
            alt.Tooltip("architecture:N"),
            number("layer", "layer", "d"),
            number("l0", "L0", ".1f"),
            number("fvu", "FVU"),
            number("fvu_low", "95 % from"),
            number("fvu_high", "to"),
            number("n_tokens", "tokens", ",d"),
            number("n_documents", "documents", "d"),
        ],
    )
    error = alt.Y("fvu:Q", title="FVU (variance unexplained)", scale=alt.Scale(zero=False, padding=20))
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("fvu_low:Q"), y2=alt.Y2("fvu_high:Q")),
        base.mark_point(filled=True, size=90, opacity=1).encode(y=error),
        base.mark_text(align="left", dx=9).encode(y=error, text=alt.Text("label:N"), color=alt.ColorValue(GREY)),
    )
    draw_chart(chart.properties(height=320), alt="FVU of each SAE against its L0")


DEAD = """with states as (
    select
        sae, layer, n_tokens,
        case when n_active = 0 then 0 when n_documents_active < 10 then 1 else 2 end as place
    from feature_stats
    where collection = $collection
)

select
    sae, layer, place, ['never active', 'in fewer than 10 documents', 'in 10 documents or more'][place + 1] as state,
    count(*) as n_features, count(*) / sum(count(*)) over (partition by sae) as share, max(n_tokens) as n_tokens
from states
group by sae, layer, place
order by layer, sae, place"""


def dead_features(collection: str) -> None:
    """Share of each SAE's features that never or rarely fire."""
    panel(
        "Features that never fire",
        filled(DEAD, collection=collection),
        _dead,
        empty=NOT_COUNTED,
        note="Features of each SAE by the number of documents they fire in. Scores of features that fire in fewer than "
        "10 documents are unreliable.",
    )


def _dead(rows: pl.DataFrame) -> None:
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("sae:N", title=None, sort=None, axis=alt.Axis(labelLimit=180)),
            x=alt.X(
                "share:Q",
                title="share of features",
                axis=alt.Axis(format="%", tickCount=5),
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "state:N",
                title=None,
                legend=alt.Legend(columns=1),
                scale=alt.Scale(
                    domain=["never active", "in fewer than 10 documents", "in 10 documents or more"],
                    range=[CATEGORIES[5], CATEGORIES[1], CATEGORIES[0]],
                ),
            ),
            order=alt.Order("place:O"),
            tooltip=[
                alt.Tooltip("sae:N"),
                alt.Tooltip("state:N"),
                number("n_features", "features", ",d"),
                number("share", "share", ".2%"),
                number("n_tokens", "tokens", ",d"),
            ],
        )
    )
    draw_chart(bars.properties(height=alt.Step(34)), alt="Features of each SAE that never fire, rarely fire, or fire")


RATES = """with binned as (
    select
        floor(10 * log10(activation_rate)) as bin, count(*) as n_features, max(n_tokens) as n_tokens,
        sum(count(*)) over () as n_active_features
    from feature_stats
    where collection = $collection and sae = $sae and activation_rate > 0
    group by bin
)

select 10 ** (bin / 10) as rate_from, 10 ** ((bin + 1) / 10) as rate_to, n_features, n_active_features, n_tokens
from binned
order by bin"""


def activation_rates(collection: str, sae: str) -> None:
    """Histogram of the activation rates of one SAE's features."""
    panel(
        "Activation rates",
        filled(RATES, collection=collection, sae=sae),
        _rates,
        empty=NOT_COUNTED,
        note="Bars are 0.1 decades wide. In a good SAE most rates lie between 0.0001 and 0.05, with few above.",
    )


def _rates(rows: pl.DataFrame) -> None:
    draw_chart(rates_histogram(rows), alt="Number of features by activation rate")
    whole = rows.row(0, named=True)
    st.caption(f"n = {whole['n_active_features']:,} features that fire, over {whole['n_tokens']:,} tokens.")
