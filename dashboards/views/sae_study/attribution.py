"""Panel of the page ``sae_study``: what a gradient says of a feature's effect on the loss, beside its removal."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import table
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
    panel(
        "Attribution: gradient against ablation",
        filled(ATTRIBUTION, **about),
        _attribution,
        empty=NOT_LOOKED_AT,
        note="Loss that removing a feature adds, in nats per token on which it fires: across, what the gradient says to first "
        "order (minus gradient times activation); up, what ablation gives. On the dashed line both agree. Rank agreement: "
        "Spearman's correlation of the two. Features that were not ablated are only in the table.",
    )


def _attribution(rows: pl.DataFrame) -> None:
    known = rows.filter(pl.col("ablation_effect").is_not_null())
    if known.is_empty():
        st.info("No feature was ablated: the table has gradients only.")
    else:
        x = partial(alt.X, title="by the gradient (nats)")
        y = partial(alt.Y, title="by ablation (nats)")
        diagonal = alt.Chart(known.drop("tokens").head(1)).mark_rule(strokeDash=[4, 4], color="#888888")
        points = alt.Chart(known.drop("tokens")).mark_point(filled=True, size=50, opacity=0.8, color=CATEGORIES[0])
        chart = alt.layer(
            diagonal.encode(x=x("diagonal_low:Q"), y=y("diagonal_low:Q"), x2="diagonal_high:Q", y2="diagonal_high:Q"),
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
        )
        draw_chart(chart.properties(height=340), alt="Effect on the loss by ablation against that by the gradient")
    _numbers(rows)


def _numbers(rows: pl.DataFrame) -> None:
    first = rows.row(0, named=True)
    st.metric(
        "Rank agreement",
        "not measured" if first["rank_agreement"] is None else f"{first['rank_agreement']:.3f}",
        help=f"over {first['n_ablated']:,} ablated features of {first['n_scored']:,}",
        width="content",
    )
    score = partial(st.column_config.NumberColumn, format="%.4f")
    table(
        rows.select("feature_id", "tokens", "n_active", "predicted", "ablation_effect"),
        {
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "tokens": st.column_config.ListColumn("fires most on"),
            "n_active": st.column_config.NumberColumn("active tokens", format="localized"),
            "predicted": score("by the gradient"),
            "ablation_effect": score("by ablation"),
        },
    )
