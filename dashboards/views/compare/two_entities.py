"""Panels of two entities."""

from dashboards.ui.declared import Column
from dashboards.views.compare.sided import differences, shown
from warehouse.catalog.compared import entities

PANELS = (
    differences(entities.DIFFERENCES),
    shown(
        entities.ANSWERS,
        columns=(
            Column("attribute", "attribute"),
            Column("family", "family"),
            Column("side", "side"),
            Column("right_answer", "right answer"),
            Column("completion", "completion"),
            Column("grade", "grade"),
            Column("p_correct", "p correct"),
            Column("log_probability", "log-probability (nats)"),
        ),
    ),
    shown(
        entities.LATENTS,
        columns=(
            Column("contrast", "contrast"),
            Column("template", "prompt"),
            Column("position", "position"),
            Column("direction", "higher on"),
            Column("rank", "rank"),
            Column("layer", "layer"),
            Column("feature_id", "feature"),
            Column("left_activation", "activation, left"),
            Column("right_activation", "activation, right"),
            Column("difference", "right less left", "signed"),
            Column("promotes", "promotes", "list"),
            Column("sae", "SAE"),
        ),
    ),
)
