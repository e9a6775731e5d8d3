"""Panels of the page ``sae_study``: error and loss recovered against L0, each seed a point, baselines in the same chart."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.sae_studies.colours import architecture_colours
from dashboards.ui.charts import coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.sae_study.about import NOT_MEASURED

FRONTIER = """select
    label, architecture,
    if(is_baseline, 'baseline', if(has_skip, 'skip ', '') || if(target_site is null, 'SAE', 'transcoder')) as role,
    d_sae, k, seed, l0, {metric}, {metric}_low, {metric}_high,
    avg(l0) over same as mean_l0, avg({metric}) over same as mean_value, count(seed) over same as n_seeds,
    kind || ', ' || d_sae || ' features' || if(source in ('trained', 'baseline'), '', ', ' || source) as line,
    n_tokens, n_documents
from sae_comparison
where collection = $collection and layer = $layer and site = $site and target_site is not distinct from $target_site
    and l0 is not null and {metric} is not null
window same as (partition by source, kind, d_sae, k)
order by line, mean_l0, seed, label"""
METRICS = {
    "fvu": ("L0 against error", "FVU (variance unexplained)", "Lower left is better."),
    "ce_recovered": ("L0 against loss", "loss recovered", "Upper left is better."),
}
"""Metric -> title, axis, how to read it."""
ROLES = {"SAE": "circle", "transcoder": "circle", "skip transcoder": "triangle-up", "baseline": "diamond"}
"""What a point is -> its shape."""


def frontier(about: dict[str, Any], metric: str) -> None:
    """A metric of ``METRICS`` against L0."""
    title, axis, reading = METRICS[metric]
    panel(
        title,
        filled(FRONTIER.format(metric=metric), **about),
        partial(_frontier, metric, axis),
        empty=NOT_MEASURED,
        note=f"{reading} A point is one seed, its bar the 95 % interval by document; lines join the means over seeds of one "
        "architecture and width. Diamonds are baselines at equal L0: principal components, random directions, the "
        "residual's own basis; the dashed line is the linear map beside "
        "transcoders and innovation SAEs, which has no features. Where bars and points of two lines mix, neither is better.",
    )


def _frontier(metric: str, axis: str, rows: pl.DataFrame) -> None:
    colours = architecture_colours(rows["architecture"].unique())
    colour = coloured("architecture", colours, "architecture").legend(orient="bottom")
    x = partial(alt.X, title="L0 (active features per token)", scale=alt.Scale(type="log", padding=20, nice=False))
    y = partial(alt.Y, title=axis, scale=alt.Scale(zero=False, padding=10))
    known = rows.filter(pl.col("l0") > 0)
    if known.is_empty():
        st.info("No SAE has an active feature.")
        return
    base = alt.Chart(known).encode(
        color=colour,
        tooltip=[
            "label:N",
            number("l0", "L0", ".1f"),
            number(metric, axis),
            number(f"{metric}_low", "95 % from"),
            number(f"{metric}_high", "to"),
            number("mean_value", "mean over seeds"),
            number("n_seeds", "seeds", "d"),
            number("d_sae", "features", ",d"),
            number("n_tokens", "tokens", ",d"),
            number("n_documents", "documents", ",d"),
        ],
    )
    drawn = [role for role in ROLES if role in known["role"]]
    shapes = alt.Scale(domain=drawn, range=[ROLES[role] for role in drawn])
    shape = alt.Shape("role:N", title=None, scale=shapes)
    without = alt.Chart(rows.filter(pl.col("l0") == 0, pl.col("role") == "baseline"))
    chart = alt.layer(
        without.mark_rule(strokeDash=[5, 4]).encode(
            y=y(f"{metric}:Q"),
            color=colour,
            tooltip=[
                "label:N",
                number(metric, axis),
                number(f"{metric}_low", "95 % from"),
                number(f"{metric}_high", "to"),
            ],
        ),
        base.mark_line(opacity=0.6).encode(x=x("mean_l0:Q"), y=y("mean_value:Q"), detail="line:N"),
        base.mark_rule(strokeWidth=1.5).encode(x=x("l0:Q"), y=y(f"{metric}_low:Q"), y2=f"{metric}_high:Q"),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=x("l0:Q", axis=alt.Axis(format="~g", tickCount=5)),
            y=y(f"{metric}:Q"),
            shape=shape.legend(orient="bottom"),
        ),
    )
    draw_chart(chart.properties(height=380), alt=f"{axis} of each SAE and baseline against its L0")
