"""Page ``saes``: which sparse autoencoders there are, how well they rebuild, how they were trained, what never fires."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose, collection
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.navigation import link
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled

CURVES = {
    "fvu": "FVU, on the batch",
    "l0": "active features a token",
    "dead_share": "share that has not fired lately",
    "lr": "learning rate",
}
STEPS = 200
"""Logged steps of each SAE that a curve is drawn from."""


def page() -> None:
    """Draw the page."""
    key = collection()
    empty = "No SAEs yet: `ato run saes` makes them."
    panel("Quality on held-out text", filled(QUALITY, collection=key), _quality, note=TERMS, empty=empty)
    left, right = st.columns(2)
    with left:
        panel("Sparsity against error", filled(QUALITY, collection=key), _frontier, note=FRONTIER, empty=empty)
    with right:
        panel(
            "Features that never fire",
            filled(DEAD, collection=key),
            _dead,
            note=NEVER,
            empty="The features were not counted yet: `ato run features` does it.",
        )
    curve = choose("Curve", "curve", list(CURVES), widget="segmented_control") or "fvu"
    panel(
        "Training",
        filled(TRAINING, collection=key, steps=STEPS),
        partial(_training, curve),
        note=f"Logged steps of SAEs trained here, at most {STEPS} of each evenly; measured on the training batch of the step.",
        empty="No SAE of this collection was trained here: those that were loaded have no curves.",
    )
    known = ask(filled(NAMES, collection=key))["sae"].to_list()
    sae = choose("SAE", "sae", known)
    if sae is None:
        return
    panel(
        "How often features are active",
        filled(RATES, collection=key, sae=sae),
        _rates,
        note=RATE,
        empty="The features of this SAE were not counted yet: `ato run features` does it.",
    )
    link("The features of this SAE", "features", sae=sae)


def _quality(rows: pl.DataFrame) -> None:
    share, score = (
        partial(st.column_config.NumberColumn, format="percent"),
        partial(st.column_config.NumberColumn, format="%.3f"),
    )
    st.dataframe(
        rows.drop("site", "n_documents", "label"),
        hide_index=True,
        column_config={
            "d_sae": st.column_config.NumberColumn("features"),
            "l0": score("L0", format="%.1f"),
            "fvu": score("FVU"),
            "fvu_low": score("from"),
            "fvu_high": score("to"),
            "ce_recovered": score("loss recovered"),
            "ce_recovered_low": score("from "),
            "ce_recovered_high": score("to "),
            "dead_share": share("dead"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="localized"),
            "trusted": st.column_config.CheckboxColumn("trusted"),
            "distrust_reason": "why not",
        },
    )


def _frontier(rows: pl.DataFrame) -> None:
    base = alt.Chart(rows).encode(
        x=alt.X(
            "l0:Q",
            title="L0 (active features a token)",
            scale=alt.Scale(zero=False, padding=30),
            axis=alt.Axis(format="~g", tickCount=5),
        ),
        color=alt.Color(
            "trusted:N",
            title="trusted",
            scale=alt.Scale(domain=[True, False], range=[CATEGORIES[0], CATEGORIES[1]]),
            legend=alt.Legend(orient="bottom"),
        ),
        tooltip=[
            alt.Tooltip("sae:N"),
            alt.Tooltip("architecture:N"),
            number("layer", "layer", "d"),
            number("l0", "L0", ".1f"),
            number("fvu", "FVU"),
            number("fvu_low", "95 % from"),
            number("fvu_high", "to"),
            number("n_tokens", "tokens", ",d"),
            number("n_documents", "documents", "d"),
        ],
    )
    error = alt.Y("fvu:Q", title="FVU (variance unexplained)", scale=alt.Scale(zero=False, padding=20))
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=alt.Y("fvu_low:Q"), y2="fvu_high:Q"),
        base.mark_point(filled=True, size=90, opacity=1).encode(y=error),
        base.mark_text(align="left", dx=9).encode(y=error, text="label:N"),
    )
    st.altair_chart(chart.properties(height=320), alt="FVU of each SAE against its L0")


def _dead(rows: pl.DataFrame) -> None:
    bars = (
        alt.Chart(rows)
        .mark_bar()
        .encode(
            y=alt.Y("sae:N", title=None, sort=None, axis=alt.Axis(labelLimit=180)),
            x=alt.X(
                "share:Q",
                title="share of the features",
                axis=alt.Axis(format="%", tickCount=5),
                scale=alt.Scale(domain=[0, 1]),
            ),
            color=alt.Color(
                "state:N",
                title=None,
                legend=alt.Legend(orient="bottom", columns=1),
                scale=alt.Scale(
                    domain=["never active", "in fewer than 10 documents", "in 10 documents or more"],
                    range=[CATEGORIES[5], CATEGORIES[1], CATEGORIES[0]],
                ),
            ),
            order=alt.Order("place:O"),
            tooltip=[
                alt.Tooltip("sae:N"),
                alt.Tooltip("state:N"),
                number("n_features", "features", ",d"),
                number("share", "share", ".2%"),
                number("n_tokens", "tokens looked at", ",d"),
            ],
        )
    )
    st.altair_chart(
        bars.properties(height=alt.Step(34)), alt="Features of each SAE that never fire, rarely fire, or fire"
    )


def _training(curve: str, rows: pl.DataFrame) -> None:
    line = (
        alt.Chart(rows)
        .mark_line(point=alt.OverlayMarkDef(size=18))
        .encode(
            x=alt.X("step:Q", title="step", axis=alt.Axis(tickCount=6)),
            y=alt.Y(f"{curve}:Q", title=CURVES[curve], scale=alt.Scale(zero=curve in ("dead_share", "lr"))),
            color=alt.Color(
                "sae:N", title=None, sort=None, legend=alt.Legend(orient="bottom", columns=2, labelLimit=140)
            ),
            tooltip=[
                alt.Tooltip("sae:N"),
                number("step", "step", ",d"),
                number("tokens", "tokens", ",d"),
                number(curve, CURVES[curve], ".4~g"),
            ],
        )
    )
    st.altair_chart(line.properties(height=380), alt=f"{CURVES[curve]} against the training step")


def _rates(rows: pl.DataFrame) -> None:
    bars = (
        alt.Chart(rows)
        .mark_bar(color=CATEGORIES[0])
        .encode(
            x=alt.X(
                "rate_from:Q",
                title="activation rate (share of tokens)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", grid=False),
            ),
            x2="rate_to",
            y=alt.Y("n_features:Q", title="features"),
            y2=alt.datum(0),
            tooltip=[
                number("rate_from", "from", ".3~g"),
                number("rate_to", "to", ".3~g"),
                number("n_features", "features", ",d"),
            ],
        )
    )
    st.altair_chart(bars.properties(height=300), alt="Number of features by activation rate")
    whole = rows.row(0, named=True)
    st.caption(
        f"n = {whole['n_active_features']:,} features that fire at all, counted over {whole['n_tokens']:,} tokens."
    )


TERMS = """FVU: share of the residuals' variance that the SAE does not rebuild. Loss recovered: share of the loss caused by zeroing
the layer that splicing the SAE in avoids. `from` and `to`: 95 % interval by document. Dead: features that fired on no judged
token. An SAE that misses a limit of the settings is not trusted."""
FRONTIER = (
    "Lower left is better: few active features, little error. Bars are 95 % intervals by document; labels are layers."
)
NEVER = (
    "Features of each SAE by how many documents of the collection they fire in; below 10 documents no score is trusted."
)
RATE = (
    "Each bar is a tenth of a power of ten. A good SAE has most features between 0.0001 and 0.05, and few to the right."
)
NAMES = "select sae from saes where collection = $collection order by layer, sae"
QUALITY = """select
    sae, layer, site, source, architecture, d_sae, l0, fvu, fvu_low, fvu_high, ce_recovered, ce_recovered_low,
    ce_recovered_high, dead_share, trusted, distrust_reason, n_tokens, n_documents, 'layer ' || layer as label
from saes
where collection = $collection
order by layer, sae"""
DEAD = """with states as (
    select
        sae, layer, n_tokens,
        case when n_active = 0 then 0 when n_documents_active < 10 then 1 else 2 end as place
    from feature_stats
    where collection = $collection
)

select
    sae, layer, place, ['never active', 'in fewer than 10 documents', 'in 10 documents or more'][place + 1] as state,
    count(*) as n_features, count(*) / sum(count(*)) over (partition by sae) as share, max(n_tokens) as n_tokens
from states
group by sae, layer, place
order by layer, sae, place"""
TRAINING = """with steps as (
    select *, row_number() over (partition by sae order by step) as place, count(*) over (partition by sae) as n_steps
    from sae_training
    where collection = $collection
)

select t.sae, s.layer, t.step, t.tokens, t.fvu, t.l0, t.dead_share, t.lr, t.mse
from steps as t
left join saes as s on s.collection = $collection and s.sae = t.sae
where t.n_steps <= $steps or t.place % ceil(t.n_steps / $steps) = 1 or t.place = t.n_steps
order by s.layer, t.sae, t.step"""
RATES = """with binned as (
    select
        floor(10 * log10(activation_rate)) as bin, count(*) as n_features, max(n_tokens) as n_tokens,
        sum(count(*)) over () as n_active_features
    from feature_stats
    where collection = $collection and sae = $sae and activation_rate > 0
    group by bin
)

select 10 ** (bin / 10) as rate_from, 10 ** ((bin + 1) / 10) as rate_to, n_features, n_active_features, n_tokens
from binned
order by bin"""
