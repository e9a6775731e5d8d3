"""Panel of the page ``entities``: the best separation of each layer, by entity type."""

from collections.abc import Sequence
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number, numbered, whole
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import of_rows
from dashboards.ui.drawing import draw_chart
from dashboards.views.entities.counts import EMPTY

CURVES = """select layer, entity_type, direction, top5_mean, top5_min, top5_max, maxmin, n_features
from entity_layer_curves
where collection = $collection and contrast = $contrast and template = $template and position = $position
order by direction, entity_type, layer"""


def _chart(kinds: Sequence[str] = (), **more: Any) -> alt.LayerChart | alt.FacetChart:
    colour = numbered("entity_type", "entity type", len(kinds))
    colour = colour.legend(orient="top")
    title = "|separation|, train"
    base = alt.Chart(ROWS).encode(
        x=whole("layer", "layer"),
        tooltip=[
            alt.Tooltip("layer:Q"),
            alt.Tooltip("entity_type:N", title="entity type"),
            number("top5_mean", "mean of five"),
            number("top5_min", "smallest"),
            number("top5_max", "largest"),
            number("maxmin", "MaxMin"),
            number("n_features", "features", ",d"),
        ],
        **more,
    )
    mean = base.encode(color=colour, y=alt.Y("top5_mean:Q", title=title))
    largest = base.transform_filter("isValid(datum.maxmin)").encode(y=alt.Y("maxmin:Q", title=title))
    return alt.layer(
        base.mark_area(opacity=0.18).encode(
            detail=alt.Detail("direction:N"), color=colour, y=alt.Y("top5_min:Q", title=title), y2=alt.Y2("top5_max:Q")
        ),
        mean.mark_line(),
        mean.mark_point(filled=True, size=45, opacity=1),
        largest.mark_line(strokeDash=[6, 4], color="#888888"),
        height=320,
    )


SEPARATION = Panel(
    "Separation by layer",
    CURVES,
    note="|Separation|: share of one class of train entities on which a feature is active, minus that of the other. "
    "Lines: mean of the layer's five best features that are rarely active on ordinary text; bands: their range. A "
    "feature's separation over `all` types is that of its worst type, 0 if types disagree; the dashed MaxMin line is "
    "the best of these. The best of many features exceeds 0 by chance as well: see q and the test scores below.",
    empty=EMPTY,
    view="chart",
    chart=_chart(strokeDash=alt.StrokeDash("direction:N", title="higher on", legend=alt.Legend(orient="top"))),
    alt="Best separation of each layer, by entity type and the class that features favour",
)


def draw_layers(rows: pl.DataFrame) -> None:
    """A chart for each direction."""
    kinds = rows["entity_type"].unique(maintain_order=True).to_list()
    if len(kinds) == 2 and "all" in kinds:  # of a single type, whose curve would lie on that of all
        rows = rows.filter(pl.col("entity_type") == "all")
        st.caption(f"A single type, {next(kind for kind in kinds if kind != 'all')}: `all` is that type.")
    directions = rows["direction"].unique(maintain_order=True).to_list()
    for direction, column in zip(directions, st.columns(len(directions))):
        own = rows.filter(pl.col("direction") == direction)
        column.markdown(f"higher on **{direction}**")
        with column:
            draw_chart(
                of_rows(_chart(kinds), own), alt=f"Best separation of each layer, features that favour {direction}"
            )
