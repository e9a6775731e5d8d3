"""Panels of two graphs."""

import altair as alt

from dashboards.ui.charts import number
from dashboards.ui.declared import Column
from dashboards.views.compare.sided import differences, scatter, shown
from warehouse.catalog.compared import graphs


def _edges() -> alt.LayerChart | alt.FacetChart:
    tooltip = [
        alt.Tooltip("source:N"),
        alt.Tooltip("target:N"),
        number("left_weight", "left"),
        number("right_weight", "right"),
        number("difference", "right less left"),
        number("left_edges", "edges left", "d"),
        number("right_edges", "edges right", "d"),
        number("n_shared", "of so many shared edges", ",d"),
    ]
    return scatter("left_weight", "right_weight", "direct effect", tooltip)


PANELS = (
    differences(graphs.DIFFERENCES),
    shown(
        graphs.OVERLAP,
        columns=(
            Column("what", "what"),
            Column("n_left", "left", "integer"),
            Column("n_right", "right", "integer"),
            Column("n_both", "both", "integer"),
            Column("jaccard", "Jaccard"),
            Column("correlation", "correlation of weights"),
        ),
    ),
    shown(
        graphs.NODES,
        columns=(
            Column("name", "node"),
            Column("kind", "kind"),
            Column("layer", "layer"),
            Column("label", "label"),
            Column("left_influence", "influence, left"),
            Column("right_influence", "influence, right"),
            Column("left_activation", "activation, left"),
            Column("right_activation", "activation, right"),
            Column("left_nodes", "positions, left", "integer"),
            Column("right_nodes", "positions, right", "integer"),
            Column("left_tokens", "on tokens, left", "list"),
            Column("right_tokens", "on tokens, right", "list"),
        ),
    ),
    shown(graphs.EDGES, chart=_edges(), alt="Direct effects of shared edges: left against right"),
)
