"""Panels of two collections."""

from collections.abc import Iterable

import altair as alt

from dashboards.ui.charts import map_scale, number
from dashboards.ui.declared import ROWS, Column
from dashboards.views.compare.sided import COLOURS, differences, shown
from warehouse.catalog.compared import collections


def _cells(tooltip: Iterable[alt.Tooltip]) -> alt.Chart:
    """Cells of a map, turned as the transport map is."""
    return alt.Chart(ROWS).encode(
        x=alt.X("target_layer:O", title="target layer", axis=alt.Axis(labelAngle=0)),
        y=alt.Y("source_layer:O", title="source layer"),
        tooltip=[number("source_layer", "from layer", "d"), number("target_layer", "to layer", "d"), *tooltip],
    )


def _map() -> alt.LayerChart | alt.FacetChart:
    tooltip = [
        number("mean_r2", "mean r2"),
        number("mean_r2_low", "95 % from"),
        number("mean_r2_high", "to"),
        number("n_features_scored", "features", ",d"),
        alt.Tooltip("sae:N"),
        alt.Tooltip("operator:N"),
    ]
    base = _cells(tooltip)
    colour = alt.Color("mean_r2:Q", title="mean r2", scale=map_scale(), legend=alt.Legend(orient="top"))
    coloured = base.transform_filter("isValid(datum.mean_r2)").mark_rect().encode(color=colour)
    return alt.layer(base.mark_rect(color="#999999", opacity=0.25), coloured, height=300)


def _difference() -> alt.LayerChart | alt.FacetChart:
    """Cells on colours from ``lowest`` to ``highest``, which lie as far from 0 as one another."""
    tooltip = [
        number("left_r2", "left"),
        number("right_r2", "right"),
        number("difference", "right less left"),
        number("difference_low", "95 % from"),
        number("difference_high", "to"),
        alt.Tooltip("paired_by:N", title="paired by"),
        number("n_paired", "pairs", ",d"),
        number("left_n", "features left", ",d"),
        number("right_n", "features right", ",d"),
    ]
    scale = alt.Scale(domainMid=0, range=[COLOURS["left"], "#f4f4f4", COLOURS["right"]], interpolate="rgb")
    legend = alt.Legend(orient="top", gradientOpacity=1)
    drawn, *ends = (
        alt.Color(f"{name}:Q", title="right less left", scale=scale, legend=legend)
        for name in ("difference", "lowest", "highest")
    )
    base = _cells(tooltip)
    few = base.transform_filter("datum.n_cells <= 144")  # numbers of more are too small to read
    return alt.layer(
        *(alt.Chart(ROWS).mark_rect(opacity=0).encode(color=end) for end in ends),
        base.mark_rect(opacity=1).encode(color=drawn),
        few.mark_text(color="#222222").encode(text=alt.Text("difference:Q", format="+.2f")),
        height=320,
    )


PANELS = (
    differences(collections.DIFFERENCES),
    shown(collections.MAPS, chart=_map(), alt="Mean r2 by source and target layer", sides=COLOURS),
    shown(
        collections.DIFFERENCE_MAP,
        chart=_difference(),
        alt="Difference of mean r2 by source and target layer",
    ),
    shown(
        collections.TEXT,
        columns=(
            Column("side", "side"),
            Column("model", "model"),
            Column("revision", "revision"),
            Column("corpus", "corpus"),
            Column("n_documents", "documents", "integer"),
            Column("n_documents_in_common", "documents in common", "integer"),
            Column("n_tokens", "tokens", "integer"),
            Column("site", "site"),
            Column("layers", "layers"),
            Column("dtype", "precision"),
            Column("created_at", "collected at"),
            Column("collection", "collection"),
        ),
    ),
)
