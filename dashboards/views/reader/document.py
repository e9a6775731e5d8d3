"""One document: what the corpus says of it, and its sequences in order."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.address import whole
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.views.reader.sequences import Reading, sequences

SHOWN = 12
"""Sequences at a time."""

FACTS = """with own as (
    select document_id, any_value(document) as document, any_value(split) as split, any_value(fold) as fold,
        count(*) as n_sequences, sum(n_tokens)::bigint as n_tokens
    from sequences
    where collection = $collection and document_id = $document_id
    group by document_id
)

select o.*, c.corpus, t.stratum, t.value, t.reason
from own as o
inner join collections as c on c.collection = $collection
left join latest_strata as t on t.collection = $collection and t.document_id = o.document_id
order by t.stratum"""

TEXT = """with collected as (
    select collection, model, revision, weights_hash, layers,
        coalesce(if(json_valid(settings), json_extract_string(settings, 'prepend_bos'), null) = 'true', false) as prepend_bos
    from collections
    where collection = $collection
),

own as (
    select
        s.sequence_id, s.start, s.n_tokens, s.start + s.n_tokens - c.prepend_bos::int as stop, s.token_ids, s.text, c.prepend_bos,
        c.model, c.revision, c.weights_hash, c.layers,
        row_number() over (order by s.start, s.sequence_id) - 1 as place,
        count(*) over () as n_sequences,
        s.start - coalesce(lag(s.start + s.n_tokens - c.prepend_bos::int) over (order by s.start, s.sequence_id), 0) as n_left_out
    from sequences as s
    inner join collected as c using (collection)
    where s.document_id = $document_id
)

select sequence_id, start, stop, n_tokens, n_left_out, text, token_ids, place, n_sequences, prepend_bos, model, revision,
    weights_hash, layers
from own
where place >= $first and place < $first + $shown
order by place"""


def document(collection: str, document_id: str, place: int | None, sequence_id: int | None) -> None:
    """Facts and text of a document.

    Args:
        collection: its key.
        document_id: of the document.
        place: number, within the document, of the sequence that the address names; None: it names none.
        sequence_id: of that sequence.
    """
    panel(
        "Document",
        filled(FACTS, collection=collection, document_id=document_id),
        _facts,
        note="Splits are by document: operators and SAEs are fitted on train, strengths chosen on val, scores made on test.",
    )
    first = _first(place)
    position = whole(st.query_params.get("position"))
    marked = (sequence_id, position) if sequence_id is not None and position is not None else None
    panel(
        "Text",
        filled(TEXT, collection=collection, document_id=document_id, first=first, shown=SHOWN),
        partial(_text, Reading(collection, document_id, marked)),
        note="The stored text of the document's sequences in their order; what lies between them was not collected, and what "
        "follows the last is not known here. Colours: activation over the largest that was measured of the feature, norm and "
        "loss over the largest shown.",
        empty="No sequence of this document here.",
    )


def _first(place: int | None) -> int:
    """Place of the first shown sequence: as the address says, else of the part with the sequence that it names."""
    part = whole(st.query_params.get("part"))
    return SHOWN * ((place or 0) // SHOWN if part is None else part)


def _facts(rows: pl.DataFrame) -> None:
    row = rows.row(0, named=True)
    with st.container(horizontal=True):
        for label, value in (
            ("Split", row["split"]),
            ("Fold", "–" if row["fold"] is None else row["fold"]),
            ("Sequences", f"{row['n_sequences']:,}"),
            ("Tokens", f"{row['n_tokens']:,}"),
        ):
            st.metric(label, value, width="content")
    metadata = [
        f"{plain(of['stratum'].replace('_', ' '))} **{plain(of['value'] or 'unknown: ' + of['reason'])}**"
        for of in rows.filter(pl.col("stratum").is_not_null()).iter_rows(named=True)
    ]
    if metadata:
        st.markdown(" · ".join(metadata))
    st.caption(plain(f"Document {row['document']} of {row['corpus']}, id {row['document_id']}."))


def _text(reading: Reading, rows: pl.DataFrame) -> None:
    sequences(reading, rows)
    first, n = rows["place"][0], rows["n_sequences"][0]
    if n > rows.height:
        part = first // SHOWN
        to = partial(_turn, reading.document_id)
        with st.container(horizontal=True, vertical_alignment="center"):
            st.button("Earlier", disabled=part == 0, on_click=to, args=(part - 1,))
            st.button("Later", disabled=first + rows.height >= n, on_click=to, args=(part + 1,))
            st.caption(f"Sequences {first + 1} to {first + rows.height} of {n:,}")


def _turn(document_id: str, part: int) -> None:
    """Show another part of the document."""
    for name in ("sequence", "position"):
        st.query_params.pop(name, None)
    st.query_params.update(part=str(part), document=document_id)
