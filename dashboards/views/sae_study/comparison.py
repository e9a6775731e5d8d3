"""Panel of the page ``sae_study``: every SAE and baseline with its metrics."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, table
from dashboards.views.sae_study.about import EMPTY

COMPARISON = """select
    label, architecture, d_sae, k, seed, l0, fvu, fvu_low, fvu_high, ce_recovered, ce_recovered_low, ce_recovered_high, kl,
    dead_share, high_frequency_share, shrinkage, decoder_redundancy, absorption_fraction, matched_cosine, probe_auroc_1,
    probe_auroc_5, attribution_rank_agreement, explained_variance, source, n_tokens_trained, n_tokens, n_documents, sae,
    study
from sae_comparison
where collection = $collection and layer = $layer and site = $site and target_site is not distinct from $target_site
order by is_baseline, k nulls last, d_sae, fvu nulls last, label, sae"""


def comparison(about: dict[str, Any]) -> None:
    """The table of the study: one row an SAE, baselines last."""
    panel(
        "Comparison",
        filled(COMPARISON, **about),
        _comparison,
        empty=EMPTY,
        note="All on the same held-out tokens. L0: active features per token; compare FVU (variance unexplained) and loss "
        "recovered at equal L0 only. `from`, `to`: 95 % interval by document. Dead: features that fired on no held-out token; "
        "high frequency: on more than a tenth of them. Shrinkage: slope of x on its reconstruction, 1 is none. Redundancy: "
        "largest decoder cosine to another feature, mean. Seed agreement: mean cosine of features matched with those of the "
        "other seeds. Probes: mean AUROC of one and of five features, 0.5 is chance. –: not measured. Whether a "
        "difference exceeds the variation over seeds is shown "
        "below.",
    )


def _comparison(rows: pl.DataFrame) -> None:
    share = partial(st.column_config.NumberColumn, format="percent")
    whole = partial(st.column_config.NumberColumn, format="localized")
    table(
        rows.drop("architecture", "study"),
        {
            "label": st.column_config.TextColumn("SAE", pinned=True),
            "d_sae": whole("features"),
            "l0": score("L0", format="%.1f"),
            "fvu": score("FVU"),
            "fvu_low": score("from"),
            "fvu_high": score("to"),
            "ce_recovered": score("loss recovered"),
            "ce_recovered_low": score("from "),
            "ce_recovered_high": score("to "),
            "kl": score("KL (nats)"),
            "dead_share": share("dead"),
            "high_frequency_share": share("high frequency"),
            "shrinkage": score("shrinkage"),
            "decoder_redundancy": score("redundancy"),
            "absorption_fraction": score("absorption"),
            "matched_cosine": score("seed agreement"),
            "probe_auroc_1": score("probe, 1"),
            "probe_auroc_5": score("probe, 5"),
            "attribution_rank_agreement": score("gradient ~ ablation"),
            "explained_variance": score("explained variance"),
            "n_tokens_trained": whole("tokens trained"),
            "n_tokens": whole("tokens judged"),
            "n_documents": whole("documents"),
        },
    )
    st.caption(f"Study {plain(rows['study'][0])}.")
