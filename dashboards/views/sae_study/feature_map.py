"""Panel of the page ``sae_study``: the features of an SAE on a map, near ones alike, coloured by cluster."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.sae_study.about import NOT_LOOKED_AT

SHOWN = 2000
"""Features of the map."""
NAMED_CLUSTERS = 6
"""Clusters with a colour of their own; the largest come first."""
SMALLER, NOISE = "smaller clusters", "in no cluster"

MAP = f"""select
    m.feature_id, m.x, m.y, m.activation_rate, m.max_activation, nullif(array_to_string(m.tokens[:8], ' | '), '') as tokens, m.nearest,
    m.nearest_cosine, c.cluster,
    case
        when c.cluster is null then 'in no cluster'
        when c.cluster < {NAMED_CLUSTERS} then 'cluster ' || c.cluster
        else 'smaller clusters'
    end as shown_cluster,
    if(coalesce(c.stable, false), 'stable', 'not stable') as stability, m.method, m.versions, count(*) over () as n_features
from feature_map as m
left join feature_clusters as c using (collection, sae, feature_id)
where m.collection = $collection and m.sae = $sae
order by m.activation_rate > 0 desc, md5(m.feature_id::varchar)
limit {SHOWN}"""


def feature_map(about: dict[str, Any]) -> None:
    """Where each feature of the chosen SAE lies among the others."""
    draw_panel(FEATURE_MAP, _map, **about)


def _chart() -> alt.LayerChart | alt.FacetChart:
    named = {f"cluster {i}": CATEGORIES[i] for i in range(NAMED_CLUSTERS)}
    colours = named | {SMALLER: CATEGORIES[6], NOISE: "#C4C8CF"}
    blank = alt.Axis(labels=False, ticks=False, grid=False)
    base = alt.Chart(ROWS).encode(
        x=alt.X("x:Q", title=None, axis=blank, scale=alt.Scale(zero=False)),
        y=alt.Y("y:Q", title=None, axis=blank, scale=alt.Scale(zero=False)),
        color=alt.Color(
            "shown_cluster:N",
            title=None,
            scale=alt.Scale(domain=list(colours), range=list(colours.values())),
        ),
        tooltip=[
            number("feature_id", "feature", "d"),
            alt.Tooltip("tokens:N", title="fires most on"),
            number("activation_rate", "activation rate", ".3%"),
            number("max_activation", "largest activation", ".2f"),
            number("nearest", "nearest feature", "d"),
            number("nearest_cosine", "its cosine"),
            number("cluster", "cluster", "d"),
            alt.Tooltip("stability:N"),
        ],
    )
    return alt.layer(
        base.transform_filter("datum.stability === 'stable'").mark_point(filled=True, size=45, opacity=0.9),
        base.transform_filter("datum.stability !== 'stable'").mark_point(filled=False, size=35, opacity=0.8),
    ).properties(height=480)


def _map(rows: pl.DataFrame) -> None:
    draw_rows(FEATURE_MAP, rows)
    first = rows.row(0, named=True)
    st.caption(
        f"{rows.height:,} of {first['n_features']:,} features, those that fire first; by {first['method'].upper()}."
    )


FEATURE_MAP = Panel(
    "Feature map",
    MAP,
    note="Features by their decoder rows: nearby points have similar directions, large distances are not "
    "meaningful. Hover for the tokens "
    "on which a feature fires most, and for the feature whose decoder row is nearest. Colours: the largest clusters; hollow "
    "points are in none, or in one that another seed of the clustering does not reproduce.",
    empty=NOT_LOOKED_AT,
    view="chart",
    chart=_chart(),
    alt="Map of the features of the SAE, coloured by cluster",
)
