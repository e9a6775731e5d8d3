"""Panel of the page ``sae_study``: groups of features, and whether they are found again."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.declared import Column, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.sae_study.about import NOT_LOOKED_AT

CLUSTERS = """select
    cluster, n_features, stable, cluster_stability, stability, tokens, features, mean_activation_rate, method, versions
from feature_cluster_overview
where collection = $collection and sae = $sae
order by cluster nulls last
limit 500"""


def clusters(about: dict[str, Any]) -> None:
    """The clusters of the chosen SAE's decoder rows."""
    draw_panel(CLUSTERS_OF_FEATURES, _clusters, **about)


def _clusters(rows: pl.DataFrame) -> None:
    numbered = rows.filter(pl.col("cluster").is_not_null())
    unstable = numbered.filter(~pl.col("stable").fill_null(False))
    if numbered.is_empty():
        st.info("No feature is in a cluster.")
    elif unstable.height == numbered.height:
        st.warning("No cluster is stable: other seeds of the clustering group the features differently.")
    draw_rows(CLUSTERS_OF_FEATURES, rows)


CLUSTERS_OF_FEATURES = Panel(
    "Clusters",
    CLUSTERS,
    note="Of decoder rows, the largest first; without a number: in none. Stability of a cluster: mean over other seeds of "
    "its largest Jaccard index with one of theirs; of the whole clustering: mean adjusted Rand index. A cluster "
    "counts as stable if both are 0.6 or more; draw no conclusions from "
    "others. Tokens: those that most of its features fire on.",
    empty=NOT_LOOKED_AT,
    columns=(
        Column("cluster", "cluster"),
        Column("n_features", "features", "integer"),
        Column("stable", "stable"),
        Column("cluster_stability", "its stability"),
        Column("stability", "of the clustering"),
        Column("tokens", "fires most on", "list"),
        Column("features", "such as", "list"),
        Column("mean_activation_rate", "mean rate", "percent"),
        Column("method", "method"),
        Column("versions", "versions"),
    ),
    wide=False,
)
