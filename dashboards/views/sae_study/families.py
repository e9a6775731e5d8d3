"""Panels of the page ``sae_study``: features of two layers that are alike, by three measures side by side."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS, Column, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows

EMPTY = (
    "No features of a lower layer to compare with: name several in `sae_study.layers`, then `ato run sae_study`. The third "
    "measure needs an operator between the layers, of `ato run operators`."
)
SHOWN = 1000
"""Features of the scatter plot: those most alike by decoder cosine."""

SUMMARY = """select
    label, source_label, source_layer, n_features, median_decoder_cosine, median_transport_cosine, median_activation_r2,
    median_activation_jaccard, alike_by_cosine, active_together, cosine_jaccard_correlation, n_tokens, sae, source_sae
from feature_family_overview
where collection = $collection and layer = $layer
order by label, sae, source_layer desc, source_sae"""

FEATURES = f"""select
    f.feature_id, s.label as source_label, s.layer as source_layer, f.source_feature, f.decoder_cosine, f.transport_cosine,
    f.activation_r2, f.activation_jaccard, m.tokens[:5] as tokens, b.tokens[:5] as source_tokens, f.n_tokens
from feature_families as f
left join studied_saes as s on s.collection = f.collection and s.sae = f.source_sae
left join feature_map as m on m.collection = f.collection and m.sae = f.sae and m.feature_id = f.feature_id
left join feature_map as b
    on b.collection = f.collection and b.sae = f.source_sae and b.feature_id = f.source_feature
where f.collection = $collection and f.sae = $sae
order by f.decoder_cosine desc, f.feature_id, f.source_sae
limit {SHOWN}"""


def families(about: dict[str, Any]) -> None:
    """Three measures of likeness: over all features of each SAE, and feature by feature for the chosen one."""
    draw_panel(FAMILIES, **about)
    draw_panel(ALIKE_AND_ACTIVE, _features, **about)


def _features(rows: pl.DataFrame) -> None:
    if rows["activation_jaccard"].null_count() == rows.height:
        st.info("No activity was measured.")
        return
    draw_rows(ALIKE_AND_ACTIVE, rows)


def _chart() -> alt.Chart:
    points = (
        alt.Chart(ROWS)
        .transform_filter("isValid(datum.activation_jaccard)")
        .mark_point(filled=True, size=40, opacity=0.7, color=CATEGORIES[0])
        .encode(
            x=alt.X("decoder_cosine:Q", title="decoder cosine", scale=alt.Scale(domain=[-1, 1])),
            y=alt.Y("activation_jaccard:Q", title="Jaccard of active tokens", scale=alt.Scale(domain=[0, 1])),
            shape=alt.Shape("source_label:N", title="beside"),
            tooltip=[
                number("feature_id", "feature", "d"),
                alt.Tooltip("source_label:N", title="beside"),
                number("source_feature", "its feature", "d"),
                number("decoder_cosine", "decoder cosine"),
                number("transport_cosine", "after the operator"),
                number("activation_r2", "r2"),
                number("activation_jaccard", "Jaccard"),
            ],
        )
    )
    return points.properties(height=340)


FAMILIES = Panel(
    "Families across layers",
    SUMMARY,
    note="Each feature beside the one of a lower layer with the nearest decoder row. Medians of decoder cosine; of the cosine "
    "after the operator between the layers; of r2, the variance along the feature's direction that the source's activation "
    "explains; of Jaccard, tokens on which both fire of those on which either does. `of these together`: of the features "
    "with a cosine of 0.9 or more, those with a Jaccard of 0.5 or more: cosine alone is misleading.",
    empty=EMPTY,
    columns=(
        Column("label", "SAE"),
        Column("source_label", "beside"),
        Column("source_layer", "layer"),
        Column("n_features", "features", "integer"),
        Column("median_decoder_cosine", "decoder cosine"),
        Column("median_transport_cosine", "after the operator"),
        Column("median_activation_r2", "r2"),
        Column("median_activation_jaccard", "Jaccard"),
        Column("alike_by_cosine", "cosine of 0.9 or more"),
        Column("active_together", "of these together"),
        Column("cosine_jaccard_correlation", "correlation, cosine ~ Jaccard"),
        Column("n_tokens", "tokens", "integer"),
    ),
)
ALIKE_AND_ACTIVE = Panel(
    "Alike by direction, alike by activity?",
    FEATURES,
    note=f"Features of the chosen SAE, the {SHOWN:,} nearest by decoder cosine. Lower right: similar directions, "
    f"but active on different "
    "tokens.",
    empty=EMPTY,
    view="chart",
    chart=_chart(),
    alt="Jaccard of active tokens against decoder cosine of each feature",
    columns=(
        Column("feature_id", "feature"),
        Column("source_label", "beside"),
        Column("source_layer", "layer"),
        Column("source_feature", "its feature"),
        Column("decoder_cosine", "decoder cosine"),
        Column("transport_cosine", "after the operator"),
        Column("activation_r2", "r2"),
        Column("activation_jaccard", "Jaccard"),
        Column("tokens", "fires most on", "list"),
        Column("source_tokens", "its feature on", "list"),
        Column("n_tokens", "tokens", "integer"),
    ),
)
