"""Panel of the page ``fate``: one feature through all layers that have SAEs."""

from collections.abc import Mapping
from dataclasses import replace

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.colours import VIEWS
from dashboards.ui.chart_theme import fitting_columns
from dashboards.ui.charts import coloured, number
from dashboards.ui.declared import ROWS, Column, Panel
from dashboards.ui.declared_panel import draw_rows
from dashboards.views.fate.counts import EMPTY

LOWEST = -1.0
LINES = {
    "r2": "r2 under ridge",
    "r2_identity": "r2 of the identity",
    "r2_jacobian": "r2 of the Jacobian",
    "decoder_cosine": "decoder cosine",
    "transport_cosine": "cosine after the operator",
    "agreement": "causal agreement",
}
"""Column -> its name in the legend."""

ENDS = (Column("born_at", "transported from layer"), Column("lives_until", "recognised up to layer"))
"""The same in all rows of a feature."""

LIFE = """select l.layer, l.fate, l.r2, l.r2_low, l.r2_high, l.r2_identity, f.r2_jacobian, f.r2_null, f.ceiling, l.nearest_feature,
    l.decoder_cosine, l.decoder_cosine_chance, l.transport_feature, l.transport_cosine, l.transport_cosine_chance,
    f.through, f.through_transported, f.not_transported, l.agreement, l.agreement_low, l.agreement_high, f.slope, f.views_disagree,
    l.born_at, l.birth_seen, l.lives_until, l.home_layer, l.other_sae
from feature_life as l
left join feature_fate as f
    on f.collection = l.collection and f.sae = l.sae and f.feature_id = l.feature_id and f.source_layer = l.layer
where l.collection = $collection and l.sae = $sae and l.feature_id = $feature_id
order by l.layer"""


def _chart(known: Mapping[str, str] = LINES) -> alt.LayerChart | alt.FacetChart:
    title = "r2, cosine or agreement"
    scale = alt.Scale(domain=[LOWEST, 1], clamp=True, nice=False)
    axis = alt.Axis(tickMinStep=1, format="d")
    x = alt.X("layer:Q", title="layer", axis=axis, scale=alt.Scale(zero=False, nice=False, padding=40))
    named = " : ".join(f"datum.column == '{name}' ? '{words}'" for name, words in known.items()) + " : ''"
    folded = alt.Chart(ROWS).transform_fold(list(known), ["column", "value"]).transform_calculate(view=named)
    base = folded.transform_filter("isValid(datum.value)").encode(
        x=x,
        y=alt.Y("value:Q", title=title, scale=scale),
        color=coloured("view", {words: VIEWS[name] for name, words in known.items()}, "").legend(
            orient="top", columns=fitting_columns(165)
        ),
        tooltip=[alt.Tooltip("view:N"), number("layer", "layer", "d"), number("value", "value"), alt.Tooltip("fate:N")],
    )
    bars = (
        alt.Chart(ROWS)
        .mark_rule(strokeWidth=1.5, opacity=0.6)
        .encode(
            x=x,
            y=alt.Y(f"{name}_low:Q", scale=scale, title=title),
            y2=alt.Y2(f"{name}_high:Q"),
            color=alt.ColorValue(VIEWS[name]),
        )
        for name in ("r2", "agreement")
    )
    chance = alt.Chart(ROWS).mark_line(strokeDash=[2, 3], color="#888888")
    chance = chance.encode(x=x, y=alt.Y("decoder_cosine_chance:Q", scale=scale, title=title))
    names = alt.Chart(ROWS).mark_text(dy=-10, color="#888888").encode(x=x, y=alt.YValue(0), text=alt.Text("fate:N"))
    return alt.layer(
        chance, *bars, base.mark_line(), base.mark_point(filled=True, size=50, opacity=1), names
    ).properties(height=380)


LIFE_OF_A_FEATURE = Panel(
    "Life of a feature",
    LIFE,
    note="Earlier layers: r2 (95 % interval by document) of what predicts it there, the nearest decoder row, the nearest "
    "after the operator, and the agreement of ablations. Later layers: decoder rows only. Dotted: 0.95 quantile "
    "of the nearest cosine under random "
    f"rotations. Values below {LOWEST:g} are drawn at the edge.",
    empty=EMPTY,
    view="chart",
    chart=_chart(),
    alt="Views of one feature by layer: a line each",
    columns=(
        Column("layer", "layer"),
        Column("fate", "fate"),
        *(Column(name, title) for name, title in LINES.items()),
        Column("r2_null", "r2, shuffled documents"),
        Column("ceiling", "ceiling"),
        Column("nearest_feature", "nearest"),
        Column("transport_feature", "nearest after the operator"),
        Column("through", "through the nearest"),
        Column("through_transported", "through the one after the operator"),
        Column("not_transported", "not transported"),
        Column("slope", "share of the predicted change"),
        Column("views_disagree", "views disagree"),
        *ENDS,
    ),
)


def draw_life(rows: pl.DataFrame) -> None:
    """The two ends of a life, and the panel without them and with the views that were measured."""
    first = rows.row(0, named=True)
    with st.container(horizontal=True):
        for end in ENDS:
            st.metric(end.title.capitalize(), str(first[end.name]), width="content")
    known = {name: title for name, title in LINES.items() if rows[name].null_count() < rows.height}
    columns = tuple(column for column in LIFE_OF_A_FEATURE.columns if column not in ENDS)
    draw_rows(replace(LIFE_OF_A_FEATURE, chart=_chart(known) if known else None, columns=columns), rows)
