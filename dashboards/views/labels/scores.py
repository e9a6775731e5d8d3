"""Panels of the page ``labels``: mean scores by layer, by judge and by tier, beside neurons, control and chance."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.colours import DESCRIBED
from ato.features.excerpts import TIERS
from dashboards.ui.charts import SPACED, coloured, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.labels.about import EMPTY

COLOURS = DESCRIBED | {
    "sae, shuffled": "#56B4E9",
    "transcoder, shuffled": "#CC79A7",
    "adapter, shuffled": "#F0E442",
    "neurons, shuffled": "#999999",
}
"""What is scored -> its colour; shuffled: with another feature's description."""
TIERS_TOLD = ("all", *TIERS)

SCORES = """select
    layer, judge, tier, source || if(control = 'none', '', ', ' || control) as what, mean_score, mean_low, mean_high, median_score, chance,
    n_scored, n_features, n_at_chance, n_unanswered, usual_reason, sae
from label_scores
where collection = $collection and scorer = $scorer and {kept}
order by layer, judge, list_position({tiers}, tier), source, control, sae"""
NOTE = (
    "A point is the mean over the labelled features of an SAE, its bar the 95 % interval of the spread between "
    "features; the dashed line is chance "
    "level. `shuffled`: the same test with another feature's description, which must be near chance. "
    "`neurons`: MLP neurons of the layer, the baseline. Features without a score are left out of the mean: hover for how many."
)


AT_LAYER = "($layer is null or layer = $layer)"

LINES = "split(datum.label, '_')"
"""A label of an axis with each word on a line of its own."""


def scores(declared: Panel, about: dict[str, Any]) -> None:
    """Draw one of the panels of scores."""
    draw_panel(declared, partial(_draw, declared), **about)


def _draw(declared: Panel, rows: pl.DataFrame) -> None:
    if rows["mean_score"].null_count() == rows.height:
        st.info(f"Nothing could be scored: {next(iter(rows['usual_reason'].drop_nulls()), 'no answers')}.")
        return
    draw_rows(declared, rows)


def _chart(by: str) -> alt.LayerChart | alt.FacetChart:
    offset = alt.XOffset("what:N", sort=list(COLOURS))
    base = alt.Chart(ROWS, height=300).encode(
        x=alt.X(
            f"{by}:O",
            title=by,
            sort=list(TIERS_TOLD) if by == "tier" else "ascending",
            axis=alt.Axis(labelAngle=0, labelExpr=LINES if by == "tier" else SPACED),
        ),
        tooltip=[
            alt.Tooltip("what:N"),
            alt.Tooltip("judge:N"),
            alt.Tooltip("layer:O"),
            alt.Tooltip("tier:N"),
            number("mean_score", "mean score"),
            number("mean_low", "95 % from"),
            number("mean_high", "to"),
            number("median_score", "median"),
            number("n_scored", "features scored", "d"),
            number("n_features", "of", "d"),
            number("n_at_chance", "no better than chance", "d"),
            alt.Tooltip("sae:N"),
        ],
    )
    colour = coloured("what", COLOURS, "what").legend(title=None, labelExpr="replace(datum.label, /^sae/, 'SAE')")
    y = partial(alt.Y, title="mean score", scale=alt.Scale(zero=False, padding=8))
    return alt.layer(
        base.mark_rule(strokeWidth=2, opacity=0.7).encode(
            y=y("mean_low:Q"), y2=alt.Y2("mean_high:Q"), xOffset=offset, color=colour
        ),
        base.mark_point(filled=True, size=60, opacity=1).encode(y=y("mean_score:Q"), xOffset=offset, color=colour),
        base.mark_rule(strokeDash=[5, 4], color="#888888").encode(x=alt.X(), y=y("chance:Q")),
    )


def _panel(title: str, kept: str, by: str, note: str) -> Panel:
    return Panel(
        title,
        SCORES.format(kept=kept, tiers=list(TIERS_TOLD)),
        note=note,
        empty=EMPTY,
        view="chart",
        chart=_chart(by),
        alt=f"Points with intervals: mean score of descriptions by {by}, beside controls and chance",
        wide=False,
    )


BY_LAYER = _panel("Scores by layer", "judge = $judge and tier = 'all'", "layer", NOTE)
BY_TIER = _panel(
    "Scores by tier",
    f"judge = $judge and {AT_LAYER}",
    "tier",
    "Texts without the feature are from anywhere (random), from text like that it fires on (same stratum), or from where its "
    "neighbours fire (near miss): the last are the hardest. The intruder test has one tier.",
)
BY_JUDGE = _panel(
    "Scores by judge",
    f"tier = 'all' and {AT_LAYER}",
    "judge",
    "The same for every judge, at the layer chosen above.",
)
