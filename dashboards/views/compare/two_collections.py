"""Panels of two collections."""

from collections.abc import Sequence
from functools import partial

import altair as alt
import polars as pl

from dashboards.ui.charts import map_scale, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.tables import table
from dashboards.views.compare.sided import COLOURS, side_by_side

LAYERS = ("source_layer", "target_layer")


def _maps(rows: pl.DataFrame) -> None:
    side_by_side(rows, partial(_map, {name: sorted(set(rows[name])) for name in LAYERS}))


def _map(layers: dict[str, list[int]], rows: pl.DataFrame) -> None:
    base = _cells(
        rows,
        layers,
        [
            number("mean_r2", "mean r2"),
            number("mean_r2_low", "95 % from"),
            number("mean_r2_high", "to"),
            number("n_features_scored", "features", ",d"),
            alt.Tooltip("sae:N"),
            alt.Tooltip("operator:N"),
        ],
    )
    chart = base.mark_rect().encode(
        color=alt.Color("mean_r2:Q", title="mean r2", scale=map_scale(), legend=alt.Legend(orient="top"))
    )
    draw_chart(chart.properties(height=300), alt="Mean r2 by source and target layer")


def _difference(rows: pl.DataFrame) -> None:
    layers = {name: sorted(set(rows[name])) for name in LAYERS}
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
    largest = max([0.01, *(abs(value) for value in rows["difference"].drop_nulls())])
    scale = alt.Scale(
        domain=[-largest, 0, largest], range=[COLOURS["left"], "#f4f4f4", COLOURS["right"]], interpolate="rgb"
    )
    base = _cells(rows, layers, tooltip)
    chart = base.mark_rect().encode(
        color=alt.Color("difference:Q", title="right less left", scale=scale, legend=alt.Legend(orient="top"))
    )
    text = base.mark_text(color="#222222").encode(text=alt.Text("difference:Q", format="+.2f"))
    shown = chart + text if rows.height <= 144 else chart
    draw_chart(shown.properties(height=320), alt="Difference of mean r2 by source and target layer")


def _cells(rows: pl.DataFrame, layers: dict[str, list[int]], tooltip: Sequence[alt.Tooltip]) -> alt.Chart:
    """Cells of a map, on axes that hold the layers of both sides."""
    y, x = LAYERS  # as on the transport map
    return alt.Chart(rows).encode(
        x=alt.X(f"{x}:O", title="target layer", scale=alt.Scale(domain=layers[x]), axis=alt.Axis(labelAngle=0)),
        y=alt.Y(f"{y}:O", title="source layer", scale=alt.Scale(domain=layers[y])),
        tooltip=[number(y, "from layer", "d"), number(x, "to layer", "d"), *tooltip],
    )


def _text(rows: pl.DataFrame) -> None:
    table(rows, {"n_documents_in_common": "documents in common"})


DRAW = {"Transport maps": _maps, "Difference of the maps": _difference, "Model and text": _text}
