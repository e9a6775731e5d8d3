"""Panels of the page ``operators``: whitened r2 and transport efficiency by rank."""

import altair as alt
import polars as pl

from ato.evaluation.colours import RANK_CURVES as COLOURS
from dashboards.ui.chart_theme import WHOLE
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.operators.curves import Curves, curve_colours, folded

RANK_CURVES: Curves = {
    "ceiling_in_sample": ("ceiling, in sample", COLOURS["ceiling_in_sample"]),
    "ceiling_held_out": ("ceiling, held out", COLOURS["ceiling_held_out"]),
    "ceiling_null": ("permutation null", COLOURS["ceiling_null"]),
    "r2_svd_paper": ("as published", COLOURS["as_published"]),
    "r2_rrr": ("best map", COLOURS["best_map"]),
}

EFFICIENCY_CURVES: Curves = {
    "efficiency_paper": ("as published", COLOURS["as_published"]),
    "efficiency": ("best map", COLOURS["best_map"]),
}

LOWEST, LOWEST_R2 = -1.0, -0.2
"""Efficiencies and whitened r2 below these are drawn there."""
HEIGHT = 300
"""Height of a chart, in pixels."""


RANKS = """select rank, d_kept, n_train, n_test, ceiling_in_sample, ceiling_held_out, ceiling_held_out_low, ceiling_held_out_high,
    ceiling_null, r2_rrr, r2_rrr_low, r2_rrr_high, r2_svd_paper, efficiency, efficiency_low, efficiency_high, efficiency_paper
from efficiency_curves
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
    and position_policy = $position_policy and is_latest
order by rank"""


def ranks(**chosen: object) -> None:
    """Whitened r2 of the best map of each rank, beside its ceiling and the permutation null."""
    panel(
        "Rank and ceiling",
        filled(RANKS, **chosen),
        _ranks,
        empty="No rank curves for this pair: run `ato run evaluate`.",
        note="Whitened r2 on test tokens of the best map of each rank, with 95 % intervals by document. The ceiling "
        "bounds every linear map of that rank; the band runs from its held-out to its in-sample value. Permutation "
        "null: the ceiling with documents shuffled. As published: truncated SVD of the fitted operator.",
    )


def efficiency(**chosen: object) -> None:
    """r2 as a share of the ceiling, by rank."""
    panel(
        "Transport efficiency",
        filled(RANKS, **chosen),
        _efficiency,
        empty="No rank curves for this pair: run `ato run evaluate`.",
        note="Whitened r2 divided by the ceiling of the same rank; 1 is the most a linear map can carry. As published: "
        f"truncated SVD over the in-sample ceiling. Values below {LOWEST:g} are drawn at {LOWEST:g}.",
    )


def _ranks(rows: pl.DataFrame) -> None:
    band = (
        alt.Chart(rows)
        .mark_area(opacity=0.25, color=CATEGORIES[2])
        .encode(x=_rank(), y=alt.Y("ceiling_held_out:Q", title="whitened r2"), y2=alt.Y2("ceiling_in_sample:Q"))
    )
    curves = _by_rank(rows, RANK_CURVES, "whitened r2", LOWEST_R2)
    draw_chart(alt.layer(band, *curves).properties(height=HEIGHT), alt="Whitened r2 against rank, with its ceiling")


def _efficiency(rows: pl.DataFrame) -> None:
    curves = _by_rank(rows, EFFICIENCY_CURVES, "transport efficiency", LOWEST)
    draw_chart(alt.layer(*curves).properties(height=HEIGHT), alt="Transport efficiency against rank")


def _rank() -> alt.X:
    scale = alt.Scale(type="log", base=2, nice=False, padding=10)
    return alt.X("rank:Q", title="rank", scale=scale, axis=WHOLE)


def _by_rank(rows: pl.DataFrame, curves: Curves, title: str, lowest: float) -> list[alt.Chart]:
    """One line per column against rank; ceilings are dashed, the last column has its interval and lies on top."""
    least = min([0.0, *(value for column in curves for value in rows[column].drop_nulls())])
    y, scale = alt.Y("value:Q", title=title), alt.Scale(domainMin=max(lowest, least), clamp=True)
    tooltip: list[alt.Tooltip] = [
        number("rank", "rank", "d"),
        alt.Tooltip("curve:N"),
        number("value", title),
        number("low", "95 % low"),
        number("high", "95 % high"),
        number("d_kept", "kept dimensions", "d"),
        number("n_train", "train tokens", ",d"),
        number("n_test", "test tokens", ",d"),
    ]
    lines = folded(rows, curves).encode(x=_rank(), y=y.scale(scale), color=curve_colours(curves), tooltip=tooltip)
    *_, last = curves
    bars = alt.Chart(rows).mark_rule(strokeWidth=1.5, opacity=0.7, color=curves[last][1])
    ends = bars.encode(x=_rank(), y=alt.Y(f"{last}_low:Q", title=title, scale=scale), y2=alt.Y2(f"{last}_high:Q"))
    dash = alt.StrokeDashValue([1, 0], condition={"test": "indexof(datum.part, 'ceiling') == 0", "value": [5, 3]})
    return [lines.mark_line().encode(strokeDash=dash), ends, lines.mark_point(filled=True, size=22, opacity=1)]
