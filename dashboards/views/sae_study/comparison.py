"""Panel of the page ``sae_study``: every SAE and baseline with its metrics."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.declared import Column, Panel, interval, names
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.ui.plain import plain
from dashboards.views.sae_study.about import EMPTY

COLUMNS = (
    Column("label", "SAE"),
    Column("d_sae", "features", "integer"),
    Column("k", "k"),
    Column("seed", "seed"),
    Column("l0", "L0"),
    *interval("fvu", "FVU"),
    *interval("ce_recovered", "loss recovered"),
    Column("kl", "KL (nats)"),
    Column("dead_share", "dead", "percent"),
    Column("high_frequency_share", "high frequency", "percent"),
    Column("shrinkage", "shrinkage"),
    Column("decoder_redundancy", "redundancy"),
    Column("absorption_fraction", "absorption"),
    Column("matched_cosine", "seed agreement"),
    Column("probe_auroc_1", "probe, 1"),
    Column("probe_auroc_5", "probe, 5"),
    Column("attribution_rank_agreement", "gradient ~ ablation"),
    Column("explained_variance", "explained variance"),
    Column("source", "source"),
    Column("n_tokens_trained", "tokens trained", "integer"),
    Column("n_tokens", "tokens judged", "integer"),
    Column("n_documents", "documents", "integer"),
    Column("sae", "key"),
)
COMPARISON = f"""select {names(COLUMNS)},
    architecture, study
from sae_comparison
where collection = $collection and layer = $layer and site = $site and target_site is not distinct from $target_site
order by is_baseline, k nulls last, d_sae, fvu nulls last, label, sae"""


def comparison(about: dict[str, Any]) -> None:
    """The table of the study: one row an SAE, baselines last."""
    draw_panel(EVERY_SAE, _comparison, **about)


def _comparison(rows: pl.DataFrame) -> None:
    draw_rows(EVERY_SAE, rows)
    st.caption(f"Study {plain(rows['study'][0])}.")


EVERY_SAE = Panel(
    "Comparison",
    COMPARISON,
    note="All on the same held-out tokens. L0: active features per token; compare FVU (variance unexplained) and loss "
    "recovered at equal L0 only. Intervals are by document. Dead: features that fired on no held-out token; "
    "high frequency: on more than a tenth of them. Shrinkage: slope of x on its reconstruction, 1 is none. Redundancy: "
    "largest decoder cosine to another feature, mean. Seed agreement: mean cosine of features matched with those of the "
    "other seeds. Probes: mean AUROC of one and of five features, 0.5 is chance. –: not measured. Whether a "
    "difference exceeds the variation over seeds is shown "
    "below.",
    empty=EMPTY,
    columns=COLUMNS,
)
