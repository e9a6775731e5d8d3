"""Panel of the page ``entities``: the ranked features with their scores."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, ticked
from dashboards.views.entities.counts import EMPTY, classes

RANKING = """select
    direction, rank, layer, feature_id, auroc, auroc_low, auroc_high, best_baseline, best_baseline_auroc, beats_baselines,
    separation, q, p_max, test_separation, test_separation_low, test_separation_high, general_rate, auroc_cross_type,
    auroc_cross_type_low, auroc_cross_type_high, n_positive, n_negative, top_tokens, sae
from entity_latent_ranking
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by direction, rank"""


def ranking(about: dict[str, object]) -> None:
    """The best features of either direction."""
    panel(
        "Best features",
        filled(RANKING, **about),
        partial(_ranking, *classes(about)),
        empty=EMPTY,
        note="Chosen by separation on train (share of the first class on which the feature is active, minus that of the "
        "second: negative for features that favour the second) among features that are rarely active on ordinary text "
        "(`text rate`). q: Benjamini-Hochberg over all features; p max: share of label permutations whose best feature "
        "separates as well. A feature with a q above 0.05 may be chance. Test scores with 95 % intervals by entity "
        "(`from`, `to`). `beats baselines`: the paired interval of the difference to the best baseline is above 0; a "
        "feature that does not has found nothing new. With several types, choose one for the AUROC on it of the feature "
        "chosen on the others. Tick a row to open the feature.",
    )


def _ranking(first: str, second: str, rows: pl.DataFrame) -> None:
    if rows["auroc_cross_type"].is_null().all():
        rows = rows.drop([name for name in rows.columns if name.startswith("auroc_cross_type")])
    picked = ticked(
        rows,
        {
            "direction": "higher on",
            "layer": st.column_config.NumberColumn("layer", format="%d"),
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "top_tokens": st.column_config.ListColumn("promotes", help="Top tokens of the logit lens"),
            "separation": score("separation, train"),
            "q": st.column_config.NumberColumn("q", format="%.2g"),
            "p_max": score("p max"),
            "test_separation": score("separation, test"),
            "test_separation_low": score("from"),
            "test_separation_high": score("to"),
            "auroc": score("AUROC"),
            "auroc_low": score("from "),
            "auroc_high": score("to "),
            "auroc_cross_type": score("cross-type AUROC"),
            "auroc_cross_type_low": score("from  "),
            "auroc_cross_type_high": score("to  "),
            "best_baseline": "best baseline",
            "best_baseline_auroc": score("its AUROC"),
            "beats_baselines": st.column_config.CheckboxColumn("beats baselines"),
            "general_rate": st.column_config.NumberColumn("text rate", format="percent"),
            "n_positive": st.column_config.NumberColumn(f"{first}, test"),
            "n_negative": st.column_config.NumberColumn(f"{second}, test"),
        },
        key="ranked entity features",
    )
    if picked is not None:
        go("features", sae=picked["sae"], feature_id=picked["feature_id"])
