"""Panel of the page ``entities``: one class predicted by one number, on test."""

from dataclasses import replace

from dashboards.ui.declared import Column, Panel, interval
from dashboards.views.entities.counts import EMPTY

CLASSIFIERS = """select
    case score when 'latent' then 'best feature' when 'probe' then 'linear probe' else 'confidence of the answers' end as score,
    layer, feature_id, auroc, auroc_low, auroc_high, f1, f1_constant, precision, recall, threshold, brier, brier_constant,
    calibration_error, n_positive, n_negative
from entity_classification
where collection = $collection and contrast = $contrast and template = $template and position = $position
    and entity_type = $entity_type
order by auroc desc nulls last, score"""

PREDICTED_CLASSES = Panel(
    "One class against the other",
    CLASSIFIERS,
    note="Predicting the first class by one number: the feature that separates best on train, the probe of the layer that is "
    "best on validation, or the mean log-probability of the greedy answer. Threshold (best F1) and logistic calibration "
    "are chosen on validation; AUROC, with 95 % intervals by entity, and all else are of test. F1 and Brier "
    "score of a constant: what always saying the first class, or always giving its share, reaches; a predictor that does no better is "
    "uninformative. Calibration error: mean gap between predicted and true share, ten bins of equal width; small also "
    "where all predictions are alike.",
    empty=EMPTY,
    columns=(
        Column("score", "predicted by"),
        Column("layer", "layer"),
        Column("feature_id", "feature"),
        *interval("auroc", "AUROC"),
        Column("f1", "F1"),
        Column("f1_constant", "F1 of a constant"),
        Column("precision", "precision"),
        Column("recall", "recall"),
        Column("threshold", "threshold"),
        Column("brier", "Brier"),
        Column("brier_constant", "Brier of a constant"),
        Column("calibration_error", "calibration error"),
        Column("n_positive", "first class, test", "integer"),
        Column("n_negative", "second class, test", "integer"),
    ),
)


def of_classes(first: str, second: str) -> Panel:
    """The panel with the names of the classes."""
    title = "Right against wrong answers" if first == "correct" else "Known against unknown"
    named = {"n_positive": f"{first}, test", "n_negative": f"{second}, test"}
    columns = tuple(replace(c, title=named.get(c.name, c.title)) for c in PREDICTED_CLASSES.columns)
    note = PREDICTED_CLASSES.note.replace("the first class", first)
    return replace(PREDICTED_CLASSES, title=title, columns=columns, note=note)
