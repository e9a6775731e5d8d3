"""Panel of the page ``fate``: one feature through all layers that have SAEs."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.colours import VIEWS
from dashboards.ui.charts import coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
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

LIFE = """select l.layer, l.fate, l.r2, l.r2_low, l.r2_high, l.r2_identity, f.r2_jacobian, f.r2_null, f.ceiling, l.nearest_feature,
    l.decoder_cosine, l.decoder_cosine_chance, l.transport_feature, l.transport_cosine, l.transport_cosine_chance,
    f.through, f.through_transported, f.not_transported, l.agreement, l.agreement_low, l.agreement_high, f.slope, f.views_disagree,
    l.born_at, l.birth_seen, l.lives_until, l.home_layer, l.other_sae
from feature_life as l
left join feature_fate as f
    on f.collection = l.collection and f.sae = l.sae and f.feature_id = l.feature_id and f.source_layer = l.layer
where l.collection = $collection and l.sae = $sae and l.feature_id = $feature_id
order by l.layer"""


def life(about: dict[str, Any]) -> None:
    """Every view of one feature, by layer."""
    panel(
        "Life of a feature",
        filled(LIFE, **about),
        _life,
        note="Earlier layers: r2 (95 % interval by document) of what predicts it there, the nearest decoder row, the nearest "
        "after the operator, and the agreement of ablations. Later layers: decoder rows only. Dotted: 0.95 quantile "
        "of the nearest cosine under random "
        f"rotations. Values below {LOWEST:g} are drawn at the edge.",
        empty=EMPTY,
    )


def _life(rows: pl.DataFrame) -> None:
    first = rows.row(0, named=True)
    with st.container(horizontal=True):
        st.metric("Transported from layer", str(first["born_at"]), width="content")
        st.metric("Recognised up to layer", str(first["lives_until"]), width="content")
    known = {name: title for name, title in LINES.items() if rows[name].null_count() < rows.height}
    if known:
        draw_chart(_chart(rows, known), alt="Views of one feature by layer: a line each")
    score = partial(st.column_config.NumberColumn, format="%.2f")
    shown = [
        "layer",
        "fate",
        *LINES,
        "r2_null",
        "ceiling",
        "nearest_feature",
        "transport_feature",
        "through",
        "through_transported",
    ]
    st.dataframe(
        rows.select([*shown, "not_transported", "slope", "views_disagree"]),
        hide_index=True,
        placeholder="–",
        column_config={name: score(title) for name, title in LINES.items()}
        | {
            "r2_null": score("r2, shuffled documents"),
            "ceiling": score("ceiling"),
            "nearest_feature": st.column_config.NumberColumn("nearest", format="%d"),
            "transport_feature": st.column_config.NumberColumn("nearest after the operator", format="%d"),
            "through": score("through the nearest"),
            "through_transported": score("through the one after the operator"),
            "not_transported": score("not transported"),
            "slope": score("share of the predicted change"),
            "views_disagree": "views disagree",
        },
    )


def _chart(rows: pl.DataFrame, known: dict[str, str]) -> alt.LayerChart | alt.FacetChart:
    scale = alt.Scale(domain=[LOWEST, 1], clamp=True, nice=False)
    axis = alt.Axis(values=rows["layer"].to_list(), format="d")
    x = alt.X("layer:Q", title="layer", axis=axis, scale=alt.Scale(zero=False, nice=False, padding=20))
    colours = {title: VIEWS[name] for name, title in LINES.items()}
    named = " : ".join(f"datum.column == '{name}' ? '{title}'" for name, title in known.items()) + " : ''"
    folded = alt.Chart(rows).transform_fold(list(known), ["column", "value"]).transform_calculate(view=named)
    folded = folded.transform_filter("isValid(datum.value)")
    base = folded.encode(
        x=x,
        y=alt.Y("value:Q", title="r2, cosine or agreement", scale=scale),
        color=coloured("view", {title: colours[title] for title in known.values()}, "").legend(orient="top"),
        tooltip=["view:N", number("layer", "layer", "d"), number("value", "value"), "fate:N"],
    )
    bars = (
        alt.Chart(rows)
        .mark_rule(strokeWidth=1.5, opacity=0.6)
        .encode(
            x=x,
            y=alt.Y(f"{name}_low:Q", scale=scale, title="r2, cosine or agreement"),
            y2=f"{name}_high:Q",
            color=alt.value(colours[LINES[name]]),
        )
        for name in ("r2", "agreement")
    )
    chance = alt.Chart(rows).mark_line(strokeDash=[2, 3], color="#888888")
    chance = chance.encode(x=x, y=alt.Y("decoder_cosine_chance:Q", scale=scale, title="r2, cosine or agreement"))
    names = alt.Chart(rows).mark_text(dy=-6, color="#888888").encode(x=x, y=alt.value(0), text="fate:N")
    return alt.layer(
        chance, *bars, base.mark_line(), base.mark_point(filled=True, size=50, opacity=1), names
    ).properties(height=380)
