"""Panel of the page ``saes``: quality against the thresholds of trust, published SAEs and trivial reconstructions."""

from functools import partial
from typing import NamedTuple

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

KINDS = {"SAE": CATEGORIES[0], "published": CATEGORIES[1], "trivial": CATEGORIES[6]}
"""Kind of a row -> its colour."""
THRESHOLD = "#D55E00"


class Measure(NamedTuple):
    """One measure of quality."""

    column: str
    title: str
    threshold: str
    """Column of the threshold of trust."""
    has_interval: bool = True


MEASURES = (
    Measure("fvu", "FVU (lower is better)", "max_fvu"),
    Measure("ce_recovered", "loss recovered (higher is better)", "min_ce_recovered"),
    Measure("dead_share", "dead features (lower is better)", "max_dead_share", has_interval=False),
)

REFERENCES = """select
    replace(kind, 'sae', 'SAE') as kind, if(kind = 'sae' and count(*) over (partition by kind, label) > 1, sae, label) as label,
    sae, model, layer, architecture, d_sae, l0, fvu, fvu_low, fvu_high, ce_recovered, ce_recovered_low, ce_recovered_high, dead_share,
    trusted, distrust_reason, max_fvu, min_ce_recovered, max_dead_share, n_tokens, n_documents, reference
from sae_references as r
where collection = $collection
order by r.kind = 'trivial', r.kind = 'published', layer, label"""


def references(collection: str) -> None:
    """FVU, loss recovered and dead features of each SAE, against thresholds and references."""
    panel(
        "Quality against thresholds and references",
        filled(REFERENCES, collection=collection),
        _references,
        empty="No SAEs yet: run `ato run saes`.",
        note="Dashed: the quality threshold beyond which an SAE is not trusted; trusted means no more than that. Published SAEs "
        "were measured on other models and texts: they show the order of magnitude and are no ranking; compare at similar L0 and "
        "depth. Trivial: the identity keeps everything, the mean of the tokens explains no "
        "variance, and zero ablation is where the recovered loss starts. Bars are 95 % intervals by document. Sources are in the "
        "last column.",
    )


def _references(rows: pl.DataFrame) -> None:
    for place, measure in zip(st.columns(len(MEASURES)), MEASURES):
        known = rows.filter(pl.col(measure.column).is_not_null())
        if not known.is_empty():
            with place:
                draw_chart(_chart(known, measure), alt=f"{measure.title} of SAEs and references")
    score = partial(st.column_config.NumberColumn, format="%.3f")
    st.dataframe(
        rows.select(
            "label",
            "kind",
            "layer",
            "architecture",
            "d_sae",
            "l0",
            "fvu",
            "fvu_low",
            "fvu_high",
            "ce_recovered",
            "ce_recovered_low",
            "ce_recovered_high",
            "dead_share",
            "trusted",
            "distrust_reason",
            "max_fvu",
            "min_ce_recovered",
            "max_dead_share",
            "n_tokens",
            "n_documents",
            "model",
            "reference",
        ),
        hide_index=True,
        placeholder="–",
        column_config={
            "label": "SAE",
            "d_sae": st.column_config.NumberColumn("features", format="localized"),
            "n_documents": "documents",
            "l0": score("L0", format="%.1f"),
            "fvu": score("FVU"),
            "fvu_low": score("from"),
            "fvu_high": score("to"),
            "ce_recovered": score("loss recovered"),
            "ce_recovered_low": score("from "),
            "ce_recovered_high": score("to "),
            "dead_share": st.column_config.NumberColumn("dead", format="percent"),
            "distrust_reason": "failed threshold",
            "max_fvu": score("FVU at most", format="%.2f"),
            "min_ce_recovered": score("recovered at least", format="%.2f"),
            "max_dead_share": st.column_config.NumberColumn("dead at most", format="percent"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="localized"),
        },
    )


def _chart(rows: pl.DataFrame, measure: Measure) -> alt.LayerChart | alt.FacetChart:
    x = alt.X(
        f"{measure.column}:Q",
        title=measure.title,
        axis=alt.Axis(tickCount=5, format="~g"),
        scale=alt.Scale(domainMin=0),
    )
    base = alt.Chart(rows).encode(
        y=alt.Y("label:N", title=None, sort=rows["label"].to_list(), axis=alt.Axis(labelLimit=170, labelOverlap=False)),
        color=alt.Color(
            "kind:N",
            title=None,
            scale=alt.Scale(domain=list(KINDS), range=list(KINDS.values())),
            legend=alt.Legend(columns=2),
        ),
        tooltip=[
            alt.Tooltip("label:N"),
            alt.Tooltip("kind:N"),
            number(measure.column, measure.title),
            *(
                [number(f"{measure.column}_{end}", f"95 % {end}") for end in ("low", "high")]
                if measure.has_interval
                else []
            ),
            number("l0", "L0", ".1f"),
            number("layer", "layer", "d"),
            number("d_sae", "features", ",d"),
            number("n_tokens", "tokens", ",d"),
            number("n_documents", "documents", ",d"),
        ],
    )
    limit = alt.Chart(rows).transform_filter(f"isValid(datum.{measure.threshold})")
    layers = [
        limit.mark_rule(color=THRESHOLD, strokeDash=[5, 4]).encode(
            x=alt.X(f"max({measure.threshold}):Q"),
            tooltip=[alt.Tooltip(f"max({measure.threshold}):Q", title="threshold")],
        )
    ]
    if measure.has_interval:
        layers.append(
            base.mark_rule(strokeWidth=2).encode(
                x=alt.X(f"{measure.column}_low:Q", title=measure.title), x2=alt.X2(f"{measure.column}_high")
            )
        )
    layers.append(base.mark_point(filled=True, size=80, opacity=1).encode(x=x))
    return alt.LayerChart(layer=layers).properties(height=alt.Step(24))
