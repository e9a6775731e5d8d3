"""Panels of the page ``causal``: per-sequence effect of one intervention."""

from functools import partial
from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.causal.intervention_names import STUDY_SETS
from dashboards.ui.address import choose, spaced
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.ui.row_places import rows_with_places
from dashboards.views.causal.costs import INTERVENTIONS

SHOWN = 8
"""Sequences at each end of the table."""


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
            or $position_set = 'study' and p.positions in $study_sets)
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


FOUND = """select distinct intervention
from causal_summary
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and method = $method
    and position_set = $position_set and feature_id is null"""


def sequences(pair: dict[str, Any], edited: object) -> None:
    """Distribution of the added loss over sequences, and the sequences at both ends."""
    found = ask(filled(FOUND, **pair, position_set=edited))["intervention"].to_list()
    intervention = choose(
        "Per-sequence effect of", "intervention", [name for name in INTERVENTIONS if name in found], shown=spaced
    )
    if intervention is None:
        return
    values = pair | {"intervention": intervention, "position_set": edited, "study_sets": STUDY_SETS}
    empty = "No per-sequence results for this intervention: run `ato run causal`."
    left, right = st.columns([2, 3])
    with left:
        panel(
            f"Added loss by sequence, {spaced(intervention)}",
            filled(DISTRIBUTION, **values),
            _distribution,
            empty=empty,
            note="Sequences by added loss; left of 0 the loss decreased.",
        )
    with right:
        panel(
            f"Largest and smallest loss changes, {spaced(intervention)}",
            filled(EXTREMES, **values, shown=SHOWN),
            _extremes,
            empty=empty,
            note="`text` is the beginning of the sequence. Losses are means over its tokens, in nats, averaged over "
            "position sets. Tick a row to open the sequence in its document.",
        )


def _distribution(rows: pl.DataFrame) -> None:
    axis = alt.X(
        "bin_from:Q", bin="binned", title="added loss (nats per token)", axis=alt.Axis(format="~g", tickCount=6)
    )
    bars = (
        alt.Chart(rows)
        .mark_bar(color=CATEGORIES[0])
        .encode(
            x=axis,
            x2=alt.X2("bin_to"),
            y=alt.Y("n_sequences:Q", title="sequences", axis=alt.Axis(tickMinStep=1)),
            tooltip=[
                number("bin_from", "from", ".4f"),
                number("bin_to", "to", ".4f"),
                number("n_sequences", "sequences", "d"),
            ],
        )
    )
    draw_chart(bars.properties(height=320), alt="Number of sequences by added loss")
    whole = rows.row(0, named=True)
    st.caption(f"n = {whole['n_all']} sequences of {whole['n_documents']} documents")


def _extremes(rows: pl.DataFrame) -> None:
    loss = partial(st.column_config.NumberColumn, format="%.3f")
    rows_with_places(
        rows,
        "loss changes",
        rows.select("delta_log_ppl", "text", "log_ppl_none", "log_ppl", "kl", "document", "sequence_id"),
        column_config={
            "delta_log_ppl": loss("added loss", format="%.4f"),
            "log_ppl_none": loss("unedited loss"),
            "log_ppl": loss("edited loss"),
            "kl": loss("KL"),
            "text": st.column_config.TextColumn(width="medium"),
            "sequence_id": "sequence",
        },
    )
