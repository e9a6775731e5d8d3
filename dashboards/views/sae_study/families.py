"""Panels of the page ``sae_study``: features of two layers that are alike, by three measures side by side."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, table

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

FEATURES = """select
    f.feature_id, s.label as source_label, s.layer as source_layer, f.source_feature, f.decoder_cosine, f.transport_cosine,
    f.activation_r2, f.activation_jaccard, m.tokens[:5] as tokens, b.tokens[:5] as source_tokens, f.n_tokens
from feature_families as f
left join studied_saes as s on s.collection = f.collection and s.sae = f.source_sae
left join feature_map as m on m.collection = f.collection and m.sae = f.sae and m.feature_id = f.feature_id
left join feature_map as b
    on b.collection = f.collection and b.sae = f.source_sae and b.feature_id = f.source_feature
where f.collection = $collection and f.sae = $sae
order by f.decoder_cosine desc, f.feature_id, f.source_sae
limit $shown"""


def families(about: dict[str, Any]) -> None:
    """Three measures of likeness: over all features of each SAE, and feature by feature for the chosen one."""
    panel(
        "Families across layers",
        filled(SUMMARY, **about),
        _summary,
        empty=EMPTY,
        note="Each feature beside the one of a lower layer with the nearest decoder row. Medians of decoder cosine; of the cosine "
        "after the operator between the layers; of r2, the variance along the feature's direction that the source's activation "
        "explains; of Jaccard, tokens on which both fire of those on which either does. `of these together`: of the features "
        "with a cosine of 0.9 or more, those with a Jaccard of 0.5 or more: cosine alone is misleading.",
    )
    panel(
        "Alike by direction, alike by activity?",
        filled(FEATURES, **about, shown=SHOWN),
        _features,
        empty=EMPTY,
        note=f"Features of the chosen SAE, the {SHOWN:,} nearest by decoder cosine. Lower right: similar directions, "
        f"but active on different "
        "tokens.",
    )


def _summary(rows: pl.DataFrame) -> None:
    table(
        rows.drop("sae", "source_sae"),
        {
            "label": st.column_config.TextColumn("SAE", pinned=True),
            "source_label": "beside",
            "source_layer": st.column_config.NumberColumn("layer", format="%d"),
            "n_features": st.column_config.NumberColumn("features"),
            "median_decoder_cosine": score("decoder cosine"),
            "median_transport_cosine": score("after the operator"),
            "median_activation_r2": score("r2"),
            "median_activation_jaccard": score("Jaccard"),
            "alike_by_cosine": "cosine of 0.9 or more",
            "active_together": "of these together",
            "cosine_jaccard_correlation": score("correlation, cosine ~ Jaccard"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="localized"),
        },
    )


def _features(rows: pl.DataFrame) -> None:
    known = rows.filter(pl.col("activation_jaccard").is_not_null())
    if known.is_empty():
        st.info("No activity was measured.")
        return
    points = (
        alt.Chart(known.drop("tokens", "source_tokens"))
        .mark_point(filled=True, size=40, opacity=0.7, color=CATEGORIES[0])
        .encode(
            x=alt.X("decoder_cosine:Q", title="decoder cosine", scale=alt.Scale(domain=[-1, 1])),
            y=alt.Y("activation_jaccard:Q", title="Jaccard of active tokens", scale=alt.Scale(domain=[0, 1])),
            shape=alt.Shape("source_label:N", title="beside", legend=alt.Legend(orient="bottom")),
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
    draw_chart(points.properties(height=340), alt="Jaccard of active tokens against decoder cosine of each feature")
    table(
        rows,
        {
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "source_label": "beside",
            "source_layer": st.column_config.NumberColumn("layer", format="%d"),
            "source_feature": st.column_config.NumberColumn("its feature", format="%d"),
            "decoder_cosine": score("decoder cosine"),
            "transport_cosine": score("after the operator"),
            "activation_r2": score("r2"),
            "activation_jaccard": score("Jaccard"),
            "tokens": st.column_config.ListColumn("fires most on"),
            "source_tokens": st.column_config.ListColumn("its feature on"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="localized"),
        },
    )
