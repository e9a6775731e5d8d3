"""Panels of the page ``fate``: how many features have which fate, and how often the views agree."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.colours import FATES
from dashboards.ui.charts import coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

EMPTY = "No feature fates yet: run `ato run fate`."

COUNTS = """select source_layer || ' → ' || target_layer as pair, source_layer, target_layer, fate,
    count(*) as n_features, count(*) filter (views_disagree) as n_disagreeing
from feature_fate
where collection = $collection and r2 is not null
    and exists (select 1 from feature_links as l where l.collection = $collection)
group by all
order by target_layer, source_layer, fate"""

AGREEMENT = """select view, against, n, n_features, both_transported, first_only, second_only, neither, agreed, by_chance,
    kappa, kappa_low, kappa_high
from fate_agreement
where collection = $collection and target_layer is null"""


def counts(key: str) -> None:
    """Features of each fate, by pair."""
    panel(
        "Fates by pair of layers",
        filled(COUNTS, collection=key),
        _counts,
        note="Scored features of the target layer's SAE. Carried: the ridge operator transports it and so does the identity. "
        "Rewritten: the operator does, the identity does not, so another direction holds it at the source. Computed: the "
        "operator does not. By the 95 % intervals of r2 and the thresholds of `evaluate`; undetermined: neither.",
        empty=EMPTY,
    )


def agreement(key: str) -> None:
    """Cohen's kappa of each two views."""
    panel(
        "Do the views agree?",
        filled(AGREEMENT, collection=key),
        _agreement,
        note="Over all pairs of layers, features on which both views have decided. Views: r2 under ridge, identity and Jacobian; "
        "decoder cosine to the nearest source feature; pathway, the share of the pre-activation that the operator brings; "
        "change in the model "
        "after an ablation against the operator's prediction. Cohen's kappa is 0 at chance and 1 where they always agree; "
        "its limits count distinct features.",
        empty=EMPTY,
    )


def _counts(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("pair:N", title="source → target layer", sort=rows["pair"].unique(maintain_order=True).to_list()),
            x=alt.X("n_features:Q", title="features"),
            color=coloured("fate", FATES, "").legend(orient="top"),
            tooltip=[
                "pair:N",
                "fate:N",
                number("n_features", "features", ",d"),
                number("n_disagreeing", "views disagree", ",d"),
            ],
        )
    )
    draw_chart(chart.properties(height=alt.Step(28)), alt="Features of each fate, a bar for each pair of layers")


def _agreement(rows: pl.DataFrame) -> None:
    columns: dict[str, Any] = dict.fromkeys(
        ("agreed", "by_chance", "kappa", "kappa_low", "kappa_high"), st.column_config.NumberColumn(format="%.2f")
    )
    columns |= {
        "n": st.column_config.NumberColumn("decided by both", format="localized"),
        "n_features": st.column_config.NumberColumn("features", format="localized"),
        "both_transported": "both: transported",
        "first_only": "only the first",
        "second_only": "only the second",
        "neither": "both: computed",
    }
    st.dataframe(rows, hide_index=True, placeholder="–", column_config=columns)
