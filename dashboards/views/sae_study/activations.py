"""Panel of the page ``sae_study``: which features fire on which tokens, as a heat map."""

from typing import Any

import altair as alt

from ato.evaluation.map_colours import ANCHORS
from dashboards.ui.charts import number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel
from dashboards.views.sae_study.about import NOT_LOOKED_AT

N_FEATURES, N_TOKENS = 24, 5
"""Rows of the heat map, and strongest tokens of each."""

CELLS = f"""with cells as (
    select
        feature_id, token, max_activation, min(place) as place, max(activation) as activation
    from (
        select
            feature_id, max_activation, unnest(tokens[:{N_TOKENS}]) as token, unnest(activations[:{N_TOKENS}]) as activation,
            unnest(range(1, least(len(tokens), {N_TOKENS}) + 1)) as place
        from feature_map
        where collection = $collection and sae = $sae and activations is not null
    )
    group by all
),

sharing as (
    select *, count(*) over (partition by token) as n_sharing from cells
),

shown as (
    select feature_id, sum(n_sharing - 1) as n_shared
    from sharing
    group by feature_id
    order by n_shared desc, max(max_activation) desc nulls last, feature_id
    limit {N_FEATURES}
)

select
    s.feature_id, c.cluster, s.token, s.place, s.activation, s.max_activation,
    if(s.max_activation > 0, s.activation / s.max_activation, null) as share, s.n_sharing
from sharing as s
inner join shown using (feature_id)
left join feature_clusters as c on c.collection = $collection and c.sae = $sae and c.feature_id = s.feature_id
order by c.cluster nulls last, s.feature_id, s.place"""


def activations(about: dict[str, Any]) -> None:
    """Activations of features on the tokens on which they fire most."""
    draw_panel(ON_TOKENS, **about)


def _activations() -> alt.Chart:
    cells = (
        alt.Chart(ROWS)
        .mark_rect()
        .encode(
            x=alt.X("token:N", title="token", sort=None, axis=alt.Axis(labelLimit=90, labelAngle=-60)),
            y=alt.Y("feature_id:O", title="feature", sort=None, axis=alt.Axis(labelOverlap=False)),
            color=alt.Color(
                "share:Q",
                title="of its largest",
                scale=alt.Scale(range=list(ANCHORS), interpolate="rgb", domain=[0, 1], clamp=True),
                legend=alt.Legend(format="%", values=[0, 0.5, 1]),
            ),
            tooltip=[
                number("feature_id", "feature", "d"),
                alt.Tooltip("token:N"),
                number("activation", "activation", ".2f"),
                number("share", "of its largest", ".0%"),
                number("cluster", "cluster", "d"),
                number("n_sharing", "features with this token", ",d"),
            ],
        )
    )
    return cells.properties(height=alt.Step(16))


ON_TOKENS = Panel(
    "Activations on tokens",
    CELLS,
    note=f"The {N_FEATURES} features that have most of their {N_TOKENS} strongest tokens in common with others, by "
    "cluster. Colour: the feature's largest activation on the token as a share of its largest on any. A blank cell is a "
    "token that is not among the feature's strongest; it need not be silent there.",
    empty="No activations by token. " + NOT_LOOKED_AT,
    view="chart",
    chart=_activations(),
    alt="Activations of features on their strongest tokens",
)
