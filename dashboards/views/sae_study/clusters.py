"""Panel of the page ``sae_study``: groups of features, and whether they are found again."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, table
from dashboards.views.sae_study.about import NOT_LOOKED_AT

CLUSTERS = """select
    cluster, n_features, stable, cluster_stability, stability, tokens, features, mean_activation_rate, method, versions
from feature_cluster_overview
where collection = $collection and sae = $sae
order by cluster nulls last
limit 500"""


def clusters(about: dict[str, Any]) -> None:
    """The clusters of the chosen SAE's decoder rows."""
    panel(
        "Clusters",
        filled(CLUSTERS, **about),
        _clusters,
        empty=NOT_LOOKED_AT,
        note="Of decoder rows, the largest first; without a number: in none. Stability of a cluster: mean over other seeds of "
        "its largest Jaccard index with one of theirs; of the whole clustering: mean adjusted Rand index. A cluster "
        "counts as stable if both are 0.6 or more; draw no conclusions from "
        "others. Tokens: those that most of its features fire on.",
    )


def _clusters(rows: pl.DataFrame) -> None:
    numbered = rows.filter(pl.col("cluster").is_not_null())
    unstable = numbered.filter(~pl.col("stable").fill_null(False))
    if numbered.is_empty():
        st.info("No feature is in a cluster.")
    elif unstable.height == numbered.height:
        st.warning("No cluster is stable: other seeds of the clustering group the features differently.")
    table(
        rows,
        {
            "cluster": st.column_config.NumberColumn("cluster", format="%d"),
            "n_features": st.column_config.NumberColumn("features"),
            "stable": st.column_config.CheckboxColumn("stable"),
            "cluster_stability": score("its stability"),
            "stability": score("of the clustering"),
            "tokens": st.column_config.ListColumn("fires most on"),
            "features": st.column_config.ListColumn("such as"),
            "mean_activation_rate": st.column_config.NumberColumn("mean rate", format="percent"),
        },
    )
