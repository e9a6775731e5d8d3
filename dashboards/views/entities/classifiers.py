"""Panel of the page ``entities``: one class predicted by one number, on test."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import score, table
from dashboards.views.entities.counts import EMPTY, classes

CLASSIFIERS = """select
    case score when 'latent' then 'best feature' when 'probe' then 'linear probe' else 'confidence of the answers' end as score,
    layer, feature_id, auroc, auroc_low, auroc_high, f1, f1_constant, precision, recall, threshold, brier, brier_constant,
    calibration_error, n_positive, n_negative
from entity_classification
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by auroc desc nulls last, score"""


def classifiers(about: dict[str, object]) -> None:
    """AUROC, F1 and calibration of the best feature, a probe and the model's confidence."""
    first, second = classes(about)
    panel(
        "Right against wrong answers" if first == "correct" else "Known against unknown",
        filled(CLASSIFIERS, **about),
        partial(_classifiers, first, second),
        empty=EMPTY,
        note=f"Predicting {first} by one number: the feature that separates best on train, the probe of the layer that is "
        "best on validation, or the mean log-probability of the greedy answer. Threshold (best F1) and logistic calibration "
        "are chosen on validation; AUROC, with 95 % intervals by entity, and all else are of test. `F1 of always` and "
        f"`Brier of always`: what always saying {first}, or always giving its share, reaches; a predictor that does no better is "
        "uninformative. Calibration error: mean gap between predicted and true share, ten bins of equal width; small also "
        "where all predictions are alike.",
    )


def _classifiers(first: str, second: str, rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            "score": "predicted by",
            "layer": st.column_config.NumberColumn("layer", format="%d"),
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "auroc": score("AUROC"),
            "auroc_low": score("from"),
            "auroc_high": score("to"),
            "f1": score("F1"),
            "f1_constant": score("F1 of always"),
            "precision": score("precision"),
            "recall": score("recall"),
            "threshold": score("threshold"),
            "brier": score("Brier"),
            "brier_constant": score("Brier of always"),
            "calibration_error": score("calibration error"),
            "n_positive": st.column_config.NumberColumn(f"{first}, test"),
            "n_negative": st.column_config.NumberColumn(f"{second}, test"),
        },
    )
