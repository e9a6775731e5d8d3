"""Panel of the page ``sae_study``: what a gradient says of a feature's effect on the loss, beside its removal."""

from dataclasses import replace
from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS, Column, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.sae_study.about import NOT_LOOKED_AT

ATTRIBUTION = """with features as (
    select
        a.feature_id, a.n_active, -a.gradient_x_activation as predicted, a.ablation_effect, m.tokens[:6] as tokens
    from feature_attribution as a
    left join feature_map as m using (collection, sae, feature_id)
    where a.collection = $collection and a.sae = $sae and a.gradient_x_activation is not null
),

-- Both ends of the diagonal on which gradient and ablation agree.
scale as (
    select
        least(min(predicted) filter (where ablation_effect is not null), min(ablation_effect)) as low,
        greatest(max(predicted) filter (where ablation_effect is not null), max(ablation_effect)) as high,
        count(ablation_effect) as n_ablated, count(*) as n_scored
    from features
),

rank_agreement as (
    select value, low, high from sae_metrics
    where collection = $collection and sae = $sae and metric = 'attribution_rank_agreement'
)

select
    f.feature_id, f.n_active, f.predicted, f.ablation_effect, f.tokens, s.low as diagonal_low, s.high as diagonal_high,
    s.n_ablated, s.n_scored, r.value as rank_agreement, r.low as rank_agreement_low, r.high as rank_agreement_high
from features as f
cross join scale as s
left join rank_agreement as r on true
order by f.ablation_effect is null, abs(coalesce(f.ablation_effect, f.predicted)) desc, f.feature_id
limit 500"""


def attribution(about: dict[str, Any]) -> None:
    """Loss that removing a feature adds: to first order, and as measured."""
    draw_panel(GRADIENT_AND_ABLATION, _attribution, **about)


def _chart() -> alt.LayerChart | alt.FacetChart:
    known = alt.Chart(ROWS).transform_filter("isValid(datum.ablation_effect)")
    x = partial(alt.X, title="by the gradient (nats)")
    y = partial(alt.Y, title="by ablation (nats)")
    diagonal = (
        known.transform_window(place="row_number()")
        .transform_filter("datum.place === 1")
        .mark_rule(strokeDash=[4, 4], color="#888888")
    )
    points = known.mark_point(filled=True, size=50, opacity=0.8, color=CATEGORIES[0])
    return alt.layer(
        diagonal.encode(
            x=x("diagonal_low:Q"), y=y("diagonal_low:Q"), x2=alt.X2("diagonal_high:Q"), y2=alt.Y2("diagonal_high:Q")
        ),
        points.encode(
            x=x("predicted:Q"),
            y=y("ablation_effect:Q"),
            tooltip=[
                number("feature_id", "feature", "d"),
                number("predicted", "by the gradient", ".4f"),
                number("ablation_effect", "by ablation", ".4f"),
                number("n_active", "active tokens", ",d"),
            ],
        ),
    ).properties(height=340)


def _attribution(rows: pl.DataFrame) -> None:
    none_ablated = rows["ablation_effect"].null_count() == rows.height
    if none_ablated:
        st.info("No feature was ablated: the table has gradients only.")
    draw_rows(replace(GRADIENT_AND_ABLATION, chart=None) if none_ablated else GRADIENT_AND_ABLATION, rows)
    first = rows.row(0, named=True)
    st.metric(
        "Rank agreement",
        "not measured" if first["rank_agreement"] is None else f"{first['rank_agreement']:.3f}",
        help=f"over {first['n_ablated']:,} ablated features of {first['n_scored']:,}",
        width="content",
    )


GRADIENT_AND_ABLATION = Panel(
    "Attribution: gradient against ablation",
    ATTRIBUTION,
    note="Loss that removing a feature adds, in nats per token on which it fires: across, what the gradient says to first "
    "order (minus gradient times activation); up, what ablation gives. On the dashed line both agree. Rank agreement: "
    "Spearman's correlation of the two. Features that were not ablated are only in the table.",
    empty=NOT_LOOKED_AT,
    view="chart",
    chart=_chart(),
    alt="Effect on the loss by ablation against that by the gradient",
    wide=False,
    columns=(
        Column("feature_id", "feature"),
        Column("tokens", "fires most on", "list"),
        Column("n_active", "active tokens", "integer"),
        Column("predicted", "by the gradient"),
        Column("ablation_effect", "by ablation"),
    ),
)
