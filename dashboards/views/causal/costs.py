"""Panels of the page ``causal``: mean added loss by intervention, leap and edited positions."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.colours import INTERVENTIONS
from dashboards.ui.chart_theme import GREY, fitting_columns
from dashboards.ui.charts import SPACED, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

MEASURES = {
    "delta_log_ppl": "added loss (nats per token)",
    "delta_edited_onwards": "added loss from the first edit on (nats per token)",
    "kl": "KL from the unedited model (nats per token)",
}
MEASURES_SHORT = {"delta_log_ppl": "added loss", "delta_edited_onwards": "from the first edit on", "kl": "KL"}
"""Measure -> its name in the field that chooses one."""
EMPTY = "No causal results yet: run `ato run causal`."
TICKS = [-10, -3, -1, -0.3, -0.1, -0.03, -0.01, 0, 0.01, 0.03, 0.1, 0.3, 1, 3, 10]
AXIS = alt.Axis(values=TICKS, tickCount=len(TICKS), format="~r", labelOverlap="greedy", labelSeparation=4)
"""Of costs: with fewer ticks asked for, Vega leaves out every other one, 0 too."""
LINEAR_BELOW = 0.01
"""Limit (nats) of the linear part of the scale: zero ablation costs a thousand times as much as transport."""
SCALE = f"The scale is linear up to {LINEAR_BELOW} nats and logarithmic beyond."


COSTS = """select
    intervention, position_set, delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, delta_edited_onwards,
    delta_edited_onwards_low, delta_edited_onwards_high, kl, kl_low, kl_high, log_ppl, log_ppl_none, n_sequences, n_documents,
    difference, difference_low, difference_high, difference_p
from causal_summary
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and method = $method
    and position_set = $position_set and feature_id is null
order by delta_log_ppl"""

WHAT = """The residual at the target layer is replaced by: `transport`, the operator's prediction; `identity`, the
source residual; `mean`, the mean residual; `bias`, the operator's bias; `random rotation`, the residual under
a random rotation; `zero`, zero. Added loss is against the unedited model on the same sequences."""


def of_pair(pair: dict[str, Any]) -> str:
    """A layer pair in a title, which is not broken over lines."""
    return f"layer\u00a0{pair['source_layer']}\u00a0→\u00a0{pair['target_layer']}"


def by_intervention(pair: dict[str, Any], edited: object, measure: str) -> None:
    """Cost of each intervention on one layer pair.

    Args:
        pair: collection, source_layer, target_layer and method.
        edited: the set of edited positions.
        measure: a key of ``MEASURES``.
    """
    panel(
        f"Cost of each intervention, {of_pair(pair)}",
        filled(COSTS, **pair, position_set=edited),
        partial(_interventions, measure),
        note=f"{WHAT} {SCALE}",
        empty=EMPTY,
    )


def _interventions(measure: str, rows: pl.DataFrame) -> None:
    known = measured(rows, measure)
    if known is None:
        return
    order = alt.Y(
        "intervention:N",
        title=None,
        sort=alt.EncodingSortField(measure),
        axis=alt.Axis(labelLimit=200, labelExpr=SPACED),
    )
    base = alt.Chart(known).encode(y=order, color=intervention_colour(known, legend=False), tooltip=tooltip(measure))
    chart = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=cost_axis(measure, alt.X, "_low"), x2=alt.X2(f"{measure}_high")),
        base.mark_point(filled=True, size=90, opacity=1).encode(x=cost_axis(measure, alt.X)),
        base.mark_text(align="left", dx=8, dy=-8).encode(
            x=cost_axis(measure, alt.X), text=alt.Text(f"{measure}:Q", format=".4f"), color=alt.ColorValue(GREY)
        ),
    )
    draw_chart(chart.properties(height=alt.Step(38)), alt="Added loss of each intervention with its interval")
    counted(known)


LEAPS = """select
    source_layer, leap, intervention, position_set, delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high,
    delta_edited_onwards, delta_edited_onwards_low, delta_edited_onwards_high, kl, kl_low, kl_high, n_sequences, n_documents
from causal_summary
where collection = $collection and target_layer = $target_layer and method = $method
    and position_set = $position_set and feature_id is null
order by intervention, leap"""


def by_leap(pair: dict[str, Any], edited: object, measure: str) -> None:
    """Cost of each intervention against the leap; arguments as for ``by_intervention``."""
    panel(
        f"Cost against leap, into layer {pair['target_layer']}",
        filled(LEAPS, **pair, position_set=edited),
        partial(_leaps, measure),
        note=f"One point per source layer with results for these positions. {SCALE}",
        empty=EMPTY,
    )


def _leaps(measure: str, rows: pl.DataFrame) -> None:
    known = measured(rows, measure)
    if known is None:
        return
    base = alt.Chart(known).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        color=intervention_colour(known),
        tooltip=tooltip(measure),
    )
    chart = alt.layer(
        base.mark_line(opacity=0.6).encode(y=cost_axis(measure, alt.Y)),
        base.mark_rule(strokeWidth=1.5).encode(y=cost_axis(measure, alt.Y, "_low"), y2=alt.Y2(f"{measure}_high")),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=cost_axis(measure, alt.Y)),
    )
    draw_chart(chart.properties(height=380), alt="Added loss of each intervention against the leap")
    counted(known)


DOSES = """with edited as (
    select positions, avg(n_edited) as n_edited
    from causal_perplexity
    where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
        and method = $method and feature_id is null
    group by positions
)

select
    intervention, position_set, n_edited, delta_log_ppl, delta_log_ppl_low, delta_log_ppl_high, delta_edited_onwards,
    delta_edited_onwards_low, delta_edited_onwards_high, kl, kl_low, kl_high, n_sequences, n_documents
from causal_summary
left join edited on positions = position_set
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and method = $method
    and position_set <> 'study' and feature_id is null
order by n_edited, position_set, intervention"""


def by_positions(pair: dict[str, Any], measure: str) -> None:
    """Cost of each intervention against the number of edited positions."""
    panel(
        f"Cost against edited positions, {of_pair(pair)}",
        filled(DOSES, **pair),
        partial(_doses, measure),
        note=f"A row per set of edited positions, fewest positions replaced per sequence first. {SCALE}",
        empty=EMPTY,
    )


def _doses(measure: str, rows: pl.DataFrame) -> None:
    known = measured(rows, measure)
    if known is None:
        return
    order = alt.EncodingSortField("n_edited")
    base = alt.Chart(known).encode(
        y=alt.Y("position_set:N", title=None, sort=order, axis=alt.Axis(labelLimit=110, labelOverlap=False)),
        color=intervention_colour(known),
        tooltip=[*tooltip(measure), number("n_edited", "positions edited per sequence", ".1f")],
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=cost_axis(measure, alt.X, "_low"), x2=alt.X2(f"{measure}_high")),
        base.mark_point(filled=True, size=50, opacity=1).encode(x=cost_axis(measure, alt.X)),
    )
    draw_chart(
        chart.properties(height=alt.Step(30)),
        alt="Added loss of each intervention against the number of edited positions",
    )
    counted(known)


def cost_axis(measure: str, channel: type[alt.X] | type[alt.Y], suffix: str = "") -> alt.X | alt.Y:
    """Axis of a cost: linear near 0, logarithmic beyond."""
    return channel(
        f"{measure}{suffix}:Q",
        title=MEASURES[measure],
        axis=AXIS,
        scale=alt.Scale(type="symlog", constant=LINEAR_BELOW),
    )


def tooltip(measure: str) -> list[alt.Tooltip]:
    """Intervention, positions, cost with its interval, and n."""
    return [
        alt.Tooltip("intervention:N"),
        alt.Tooltip("position_set:N", title="edited positions"),
        number(measure, MEASURES[measure], ".4f"),
        number(f"{measure}_low", "95 % from", ".4f"),
        number(f"{measure}_high", "to", ".4f"),
        number("n_sequences", "sequences", "d"),
        number("n_documents", "documents", "d"),
    ]


def intervention_colour(rows: pl.DataFrame, legend: bool = True) -> alt.Color:
    """The colour of each intervention, one on the whole page."""
    names = [name for name in INTERVENTIONS if name in rows["intervention"]]
    scale = alt.Scale(domain=names, range=[INTERVENTIONS[name] for name in names])
    return alt.Color(
        "intervention:N",
        scale=scale,
        legend=alt.Legend(title=None, labelExpr=SPACED, columns=fitting_columns(115)) if legend else None,
    )


def counted(rows: pl.DataFrame) -> None:
    """Caption with the numbers of sequences and documents."""
    fewest = rows.row(rows["n_sequences"].arg_min() or 0, named=True)
    st.caption(
        f"n = {fewest['n_sequences']} sequences of {fewest['n_documents']} documents; whiskers are paired 95 %"
        " intervals by document."
    )


def measured(rows: pl.DataFrame, measure: str) -> pl.DataFrame | None:
    """The rows that have the measure; None, with a message, where none has."""
    rows = rows.filter(pl.col(measure).is_not_null())
    if rows.is_empty():
        st.info(f"Not measured: {MEASURES[measure]}. Choose another measure.")
        return None
    return rows
