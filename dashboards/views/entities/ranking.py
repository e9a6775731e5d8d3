"""Panel of the page ``entities``: the ranked features with their scores."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.entities.counts import EMPTY

RANKING = """select
    direction, rank, layer, feature_id, top_tokens, separation, q, p_max, test_separation, test_separation_low,
    test_separation_high, auroc, auroc_low, auroc_high, auroc_cross_type, auroc_cross_type_low, auroc_cross_type_high,
    best_baseline, best_baseline_auroc, beats_baselines, general_rate, n_positive, n_negative, sae
from entity_latent_ranking
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by direction, rank"""


def ranking(about: dict[str, object]) -> None:
    """The best features of either direction."""
    panel(
        "Best features",
        filled(RANKING, **about),
        _ranking,
        empty=EMPTY,
        note="Chosen by separation on train among features that are rarely active on ordinary text (`text rate`). q: "
        "Benjamini-Hochberg over all features; p max: share of label permutations whose best feature separates as well. "
        "Test scores with 95 % intervals by entity (`from`, `to`). Cross-type: choose an entity type; AUROC on it of the "
        "feature chosen on the others. `beats baselines`: the paired interval of the difference to the best baseline is "
        "above 0. A feature that does not has found nothing new. Tick a row to open the feature.",
    )


def _ranking(rows: pl.DataFrame) -> None:
    score = partial(st.column_config.NumberColumn, format="%.3f")
    clicked = st.dataframe(
        rows,
        hide_index=True,
        key="ranked entity features",
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        column_config={
            "direction": "higher on",
            "layer": st.column_config.NumberColumn("layer", format="%d"),
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "top_tokens": st.column_config.ListColumn("promotes", help="Top tokens of the logit lens"),
            "separation": score("separation, train"),
            "q": score("q"),
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
            "n_positive": st.column_config.NumberColumn("n first class"),
            "n_negative": st.column_config.NumberColumn("n second class"),
        },
    )
    for place in clicked["selection"]["rows"]:
        go("features", sae=rows["sae"][place], feature_id=rows["feature_id"][place])
