"""Panels of the page ``sae_study``: error and loss recovered against L0, each seed a point, baselines in the same chart."""

from functools import partial

import altair as alt

from ato.sae_studies.colours import ARCHITECTURES, OTHERS
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, Panel

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
qualify max(l0) over () > 0
order by line, mean_l0, seed, label"""
EMPTY = "No SAE here has an active feature, or none was measured: `ato run sae_study` trains and judges them."
METRICS = {
    "fvu": ("L0 against error", "FVU (variance unexplained)", "Lower left is better."),
    "ce_recovered": ("L0 against loss", "loss recovered", "Upper left is better."),
}
"""Metric -> title, axis, how to read it."""
ROLES = {"SAE": "circle", "transcoder": "circle", "skip transcoder": "triangle-up", "baseline": "diamond"}
"""What a point is -> its shape."""


def _chart(metric: str, axis: str) -> alt.LayerChart | alt.FacetChart:
    colour = coloured("architecture", ARCHITECTURES, "architecture", OTHERS)
    x = partial(alt.X, title="L0 (active features per token)", scale=alt.Scale(type="log", padding=20, nice=False))
    y = partial(alt.Y, title=axis, scale=alt.Scale(zero=False, padding=10))
    base = (
        alt.Chart(ROWS)
        .transform_filter("datum.l0 > 0")
        .encode(
            color=colour,
            tooltip=[
                alt.Tooltip("label:N"),
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
    )
    shapes = alt.Scale(domain=list(ROLES), range=list(ROLES.values()))
    shape = alt.Shape("role:N", title=None, scale=shapes)
    without = alt.Chart(ROWS).transform_filter("datum.l0 === 0 && datum.role === 'baseline'")
    return alt.layer(
        without.mark_rule(strokeDash=[5, 4]).encode(
            y=y(f"{metric}:Q"),
            color=colour,
            tooltip=[
                alt.Tooltip("label:N"),
                number(metric, axis),
                number(f"{metric}_low", "95 % from"),
                number(f"{metric}_high", "to"),
            ],
        ),
        base.mark_line(opacity=0.6).encode(x=x("mean_l0:Q"), y=y("mean_value:Q"), detail=alt.Detail("line:N")),
        base.mark_rule(strokeWidth=1.5).encode(x=x("l0:Q"), y=y(f"{metric}_low:Q"), y2=alt.Y2(f"{metric}_high:Q")),
        base.mark_point(filled=True, size=70, opacity=1).encode(
            x=x("l0:Q", axis=alt.Axis(format="~g", tickCount=5)),
            y=y(f"{metric}:Q"),
            shape=shape,
        ),
    ).properties(height=440)


def _panel(metric: str) -> Panel:
    title, axis, reading = METRICS[metric]
    return Panel(
        title,
        FRONTIER.format(metric=metric),
        note=f"{reading} A point is one seed, its bar the 95 % interval by document; lines join the means over seeds of one "
        "architecture and width. Diamonds are baselines at equal L0: principal components, random directions, the "
        "residual's own basis; the dashed line is the linear map beside "
        "transcoders and innovation SAEs, which has no features. Where bars and points of two lines mix, neither is better.",
        empty=EMPTY,
        view="chart",
        chart=_chart(metric, axis),
        alt=f"{axis} of each SAE and baseline against its L0",
        wide=False,
    )


FRONTIERS = {metric: _panel(metric) for metric in METRICS}
