"""Panels of the page ``entities``: whether what the best features say is carried from below or computed."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES, coloured, in_method_order, number, whole
from dashboards.ui.declared import ROWS, Column, Panel, interval
from dashboards.ui.declared_panel import draw_panel, of_rows
from dashboards.ui.drawing import draw_chart
from dashboards.ui.reading import ask, filled
from dashboards.views.entities.counts import EMPTY

SERIES = {
    "operator, at entities": CATEGORIES[0],
    "identity, at entities": CATEGORIES[1],
    "operator, ordinary text": CATEGORIES[6],
}
LEAST_R2 = -1.0
"""Lowest possible end of the vertical axis; the identity can lie far below."""

LATENTS = """select distinct direction, rank, target_layer, sae, feature_id
from entity_latent_transport
where collection = $collection and contrast = $contrast and template = $template and position = $position
order by rank, direction"""

CARRIED = """select
    direction, rank, target_layer, feature_id, source_layer, leap, method, carried, r2, r2_low, r2_high, r2_identity,
    r2_identity_low, r2_identity_high, r2_text, verdict_text, n_entities, n_active_text,
    sae
from entity_latent_transport
where collection = $collection and contrast = $contrast and template = $template and position = $position
order by direction, rank, method, leap"""

CURVES = """with latent as (
    select *
    from entity_latent_transport
    where collection = $collection and contrast = $contrast and template = $template and position = $position
        and sae = $sae and feature_id = $feature_id
)

select
    'operator, at entities' as series, method, source_layer, leap, r2, r2_low, r2_high, n_entities as n, carried as verdict
from latent
union all
select
    'identity, at entities', method, source_layer, leap, r2_identity, r2_identity_low, r2_identity_high, n_entities, carried
from latent
union all
select 'operator, ordinary text', method, source_layer, leap, r2_text, r2_text_low, r2_text_high, n_active_text, verdict_text
from latent
where r2_text is not null
order by method, series, source_layer"""


def _chart(lowest: float = LEAST_R2, **more: Any) -> alt.LayerChart | alt.FacetChart:
    scale = alt.Scale(domain=[lowest, 1], clamp=True, nice=False)
    y = partial(alt.Y, title="r2 of the activation", scale=scale)
    base = alt.Chart(ROWS).encode(
        x=whole("source_layer", "source layer"),
        color=coloured("series", SERIES, "series").legend(orient="top", title=None, columns=1),
        tooltip=[
            alt.Tooltip("series:N"),
            alt.Tooltip("source_layer:Q", title="source layer"),
            alt.Tooltip("leap:Q"),
            number("r2", "r2"),
            number("r2_low", "95 % from"),
            number("r2_high", "to"),
            number("n", "n", ",d"),
            alt.Tooltip("verdict:N"),
        ],
        **more,
    )
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y=y("r2_low:Q"), y2=alt.Y2("r2_high:Q")),
        base.mark_line(opacity=0.7).encode(y=y("r2:Q")),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=y("r2:Q")),
        height=340,
    )


CARRIED_FROM_BELOW = Panel(
    "Carried from below?",
    CURVES,
    note="Share of the variance of the feature's activation over test entities that its value at a lower layer "
    "predicts: by the operator into its layer, or by the source residual itself (identity). Grey: the same "
    f"operator on ordinary text, where the feature is active. Values below {LEAST_R2:g} are drawn at the lower "
    "edge; where operator and identity agree far below 0, both predict that the feature is inactive. Bars: "
    "95 % intervals, by entity or "
    "document.",
    empty=EMPTY,
    view="chart",
    chart=_chart(strokeDash=alt.StrokeDash("method:N", title=None, legend=alt.Legend(orient="top"))),
    alt="r2 of the feature by source layer, a line for each predictor",
    wide=False,
)
CARRIED_OR_COMPUTED = Panel(
    "Carried or computed",
    CARRIED,
    note="`computed`: the interval of r2 at entities lies at or below 0.3. `carried`: it lies at or above 0.7, or "
    "above 0.3 and above that of the identity. Else `unclear`.",
    empty=EMPTY,
    columns=(
        Column("direction", "higher on"),
        Column("rank", "rank"),
        Column("target_layer", "layer"),
        Column("feature_id", "feature"),
        Column("source_layer", "source layer"),
        Column("leap", "leap"),
        Column("method", "method"),
        Column("carried", "at entities"),
        *interval("r2", "r2"),
        *interval("r2_identity", "identity"),
        Column("r2_text", "r2, text"),
        Column("verdict_text", "on ordinary text"),
        Column("n_entities", "entities", "integer"),
        Column("n_active_text", "active tokens of text", "integer"),
        Column("sae", "SAE"),
    ),
    wide=False,
)


def transport(about: dict[str, object]) -> None:
    """One feature's r2 from each source layer, and the verdicts on all."""
    place = {name: value for name, value in about.items() if name != "entity_type"}
    found = ask(filled(LATENTS, **place)).rows()
    chosen = choose("Feature", "latent", found, format=_name)
    sae, feature_id = (None, None) if chosen is None else chosen[3:]
    left, right = st.columns([2, 3])
    with left:
        draw_panel(CARRIED_FROM_BELOW, _draw_curves, **place, sae=sae, feature_id=feature_id)
    with right:
        draw_panel(CARRIED_OR_COMPUTED, **place)


def _name(latent: tuple[str, int, int, str, int]) -> str:
    direction, rank, layer, _, feature_id = latent
    return f"{direction} {rank}: layer {layer}, feature {feature_id}"


def _draw_curves(rows: pl.DataFrame) -> None:
    methods = in_method_order(rows["method"].unique())
    method = choose("Method", "method", methods) if len(methods) > 1 else methods[0]
    own = rows.filter(pl.col("method") == method)
    lowest = max(LEAST_R2, min(0.0, *own["r2_low"].drop_nulls(), *own["r2"].drop_nulls()))
    draw_chart(of_rows(_chart(lowest), own), alt=f"r2 by source layer, {method}")
