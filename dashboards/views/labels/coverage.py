"""Panel of the page ``labels``: how much of the effect the first labels cover, beside a random order."""

from functools import partial
from typing import Any

import altair as alt

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel

COVERAGE = """with evidence as (
    select distinct collection, evidence from latest_labellings
    where is_latest and collection = $collection and judge = $judge
)

select place, layer, feature_id, covered, random, random_low, random_high, n_features, n_active_features, ordered_by, sae
from label_coverage
semi join evidence using (collection, evidence)
where $layer is null or layer = $layer
order by layer, sae, ordered_by, place"""


def coverage(about: dict[str, Any]) -> None:
    """Share of the measured effect of an SAE's features that is covered by the first n labels."""
    draw_panel(EFFECT_COVERED, **about)


def _coverage() -> alt.LayerChart | alt.FacetChart:
    base = alt.Chart(ROWS, height=260).encode(
        x=alt.X("place:Q", title="labels, in their order", axis=alt.Axis(tickMinStep=1)),
        detail=alt.Detail("sae:N"),
        tooltip=[
            alt.Tooltip("sae:N"),
            number("place", "labels", "d"),
            number("covered", "covered", ".3f"),
            number("random", "random order", ".3f"),
            number("random_low", "95 % from", ".3f"),
            number("random_high", "to", ".3f"),
            number("n_features", "measured features", "d"),
            number("n_active_features", "of active ones", "d"),
            alt.Tooltip("ordered_by:N", title="ordered by"),
        ],
    )
    y = partial(alt.Y, title="share of the effect", scale=alt.Scale(domain=[0, 1]))
    colour = alt.Color("sae:N", scale=alt.Scale(range=list(CATEGORIES)), legend=alt.Legend(orient="top", title=None))
    return alt.layer(
        base.mark_area(opacity=0.15, color="#888888").encode(y=y("random_low:Q"), y2=alt.Y2("random_high:Q")),
        base.mark_line(strokeDash=[5, 4], color="#888888").encode(y=y("random:Q")),
        base.mark_line().encode(y=y("covered:Q"), color=colour),
    )


EFFECT_COVERED = Panel(
    "Effect covered by the first labels",
    COVERAGE,
    note="Share of the sum of the sizes of all measured effects of the SAE's features. Grey: the same number of "
    "these features in random order, with a 95 % range over "
    "orders. Only features whose effect was measured count: hover for how many of the "
    "active ones. The order is by the effects that are summed, so noise in them favours it.",
    empty="No labels in the order of a measured effect: `ato run label --set label.order=causal_effect` (or `attribution`, `influence`).",
    view="chart",
    chart=_coverage(),
    alt="Lines: share of the effect covered by the first labels, beside a random order",
    wide=False,
)
