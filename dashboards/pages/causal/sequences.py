"""Panels of page ``causal`` below the averages: single sequences, and single features that were ablated."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

SHOWN = 8
"""Sequences at each end of the table."""
FEATURES = 200


def sequences(pair: dict[str, object], edited: object, interventions: list[str]) -> None:
    """How the cost of one intervention spreads over sequences, and the sequences at both ends."""
    if not interventions:
        return
    intervention = choose("Intervention, a sequence at a time", "intervention", interventions)
    values = pair | {"intervention": intervention, "position_set": edited}
    empty = "No sequences were stored for this intervention: `ato run causal` makes them."
    left, right = st.columns([2, 3])
    with left:
        panel(
            f"Added loss by sequence, {intervention}",
            filled(DISTRIBUTION, **values),
            _distribution,
            empty=empty,
            note="Sequences counted by the loss that the intervention adds to them; left of 0 the model got better.",
        )
    with right:
        panel(
            f"Hurt most and least, {intervention}",
            filled(EXTREMES, **values, shown=SHOWN),
            _extremes,
            empty=empty,
            note="`text` is how the sequence begins. Losses are means over its tokens, in nats; several sets are averaged.",
        )


def ablations(pair: dict[str, object]) -> None:
    """What zeroing one feature of the target's SAE costs, and what remains of that when it is transported instead."""
    panel(
        "Single features",
        filled(ABLATIONS, **pair, features=FEATURES),
        partial(_ablations, pair),
        note="Added loss (nats a token) with 95 % intervals where a feature is active: its part of the residual is zeroed, or"
        " replaced by the transported one. Zeroing costs much and transport little where the feature matters and is"
        f" carried. At most {FEATURES} features, dearest first; a click on a row's box leads to the feature.",
        empty="No single feature was ablated: `ato run causal --set causal.n_features=2` makes some.",
    )


def _distribution(rows: pl.DataFrame) -> None:
    axis = alt.X("bin_from:Q", bin="binned", title="added loss (nats a token)", axis=alt.Axis(format="~g", tickCount=6))
    bars = (
        alt.Chart(rows)
        .mark_bar(color=CATEGORIES[0])
        .encode(
            x=axis,
            x2="bin_to",
            y=alt.Y("n_sequences:Q", title="sequences", axis=alt.Axis(tickMinStep=1)),
            tooltip=[
                number("bin_from", "from", ".4f"),
                number("bin_to", "to", ".4f"),
                number("n_sequences", "sequences", "d"),
            ],
        )
    )
    st.altair_chart(bars.properties(height=320), alt="Number of sequences by added loss")
    whole = rows.row(0, named=True)
    st.caption(f"n = {whole['n_all']} sequences of {whole['n_documents']} documents")


def _extremes(rows: pl.DataFrame) -> None:
    loss = partial(st.column_config.NumberColumn, format="%.3f")
    st.dataframe(
        rows.select("delta_log_ppl", "text", "log_ppl_none", "log_ppl", "kl", "document", "sequence_id"),
        hide_index=True,
        height=400,
        column_config={
            "delta_log_ppl": loss("added loss", format="%.4f"),
            "log_ppl_none": loss("unedited loss"),
            "log_ppl": loss("edited loss"),
            "kl": loss("KL"),
            "text": st.column_config.TextColumn(width="large"),
        },
    )


def _ablations(pair: dict[str, object], rows: pl.DataFrame) -> None:
    loss = partial(st.column_config.NumberColumn, format="%.4f")
    config = {
        f"{kind}{end}": loss(f"{name}{title}")
        for kind, name in (("zeroed", "zeroed"), ("transported", "transported"))
        for end, title in (("", ""), ("_low", ", from"), ("_high", ", to"))
    }
    clicked = st.dataframe(
        rows.drop("sae"),
        hide_index=True,
        column_config=config,
        on_select="rerun",
        selection_mode="single-row",
        key="ablated features",
    )
    if clicked["selection"]["rows"]:
        found = rows.row(clicked["selection"]["rows"][0], named=True)
        go("features", sae=found["sae"], feature_id=found["feature_id"])


_PAIRED = """with chosen as (
    select p.*
    from causal_perplexity as p
    semi join latest_evaluations as l
        on l.kind = 'causal_effects' and l.is_latest and l.collection = p.collection and l.evaluation = p.evaluation
        and l.source_layer = p.source_layer and l.target_layer = p.target_layer and l.method = p.method
        and l.part = p.positions
    where p.collection = $collection and p.source_layer = $source_layer and p.target_layer = $target_layer
        and p.method = $method and p.intervention = $intervention and p.feature_id is null and p.n_edited > 0
        and (p.positions = $position_set
            or $position_set = 'study' and p.positions in ('10,50,70,100,120', '11,51,71,101,121', '12,52,72,102,122'))
),

paired as (
    select
        c.sequence_id, c.document, avg(c.log_ppl - u.log_ppl) as delta_log_ppl, avg(c.log_ppl) as log_ppl,
        avg(u.log_ppl) as log_ppl_none, avg(c.kl) as kl
    from chosen as c
    inner join causal_perplexity as u
        on u.intervention = 'none' and u.collection = c.collection and u.evaluation = c.evaluation
        and u.source_layer = c.source_layer and u.target_layer = c.target_layer and u.method = c.method
        and u.sequence_id = c.sequence_id
    group by c.sequence_id, c.document
),

"""
DISTRIBUTION = (
    _PAIRED
    + """spread as (
    select
        min(delta_log_ppl) as lowest, count(*) as n_all, count(distinct document) as n_documents,
        least(40, ceil(2 * sqrt(count(*)))) as n_bins, greatest((max(delta_log_ppl) - lowest) / n_bins, 1e-6) as width
    from paired
),

binned as (
    select least(floor((delta_log_ppl - lowest) / width), n_bins - 1) as bin, count(*) as n_sequences
    from paired, spread
    group by bin
)

select lowest + bin * width as bin_from, lowest + (bin + 1) * width as bin_to, n_sequences, n_all, n_documents
from binned, spread
order by bin"""
)
EXTREMES = (
    _PAIRED
    + """placed as (
    select
        *, row_number() over (order by delta_log_ppl desc, sequence_id) as from_worst,
        row_number() over (order by delta_log_ppl, sequence_id) as from_best
    from paired
)

select
    p.sequence_id, p.document, p.delta_log_ppl, p.log_ppl_none, p.log_ppl, p.kl,
    left(trim(regexp_replace(s.text, '\\s+', ' ', 'g')), 200) as text
from placed as p
left join sequences as s on s.collection = $collection and s.sequence_id = p.sequence_id
where from_worst <= $shown or from_best <= $shown
order by from_worst"""
)
ABLATIONS = """select
    feature_id, any_value(delta_log_ppl) filter (where intervention = 'feature_zero') as zeroed,
    any_value(delta_log_ppl_low) filter (where intervention = 'feature_zero') as zeroed_low,
    any_value(delta_log_ppl_high) filter (where intervention = 'feature_zero') as zeroed_high,
    any_value(delta_log_ppl) filter (where intervention = 'feature_transport') as transported,
    any_value(delta_log_ppl_low) filter (where intervention = 'feature_transport') as transported_low,
    any_value(delta_log_ppl_high) filter (where intervention = 'feature_transport') as transported_high,
    min(n_sequences) as n_sequences, min(n_documents) as n_documents,
    (
        -- The tables of effects do not say which SAE: it is known where the layer has only one.
        select case when count(*) = 1 then min(sae) end from saes where collection = $collection and layer = $target_layer
    ) as sae
from causal_summary
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and method = $method
    and feature_id is not null
group by feature_id
order by zeroed desc nulls last, feature_id
limit $features"""
