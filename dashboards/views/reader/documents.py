"""The documents of a collection: found by words of their text and by what the corpus says of them."""

import polars as pl
import streamlit as st

from dashboards.ui.address import choose, typed
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled

SHOWN = 200
"""Documents of the list."""

STRATA = "select distinct stratum, value from latest_strata where collection = $collection and value is not null order by all"

# A word is in the document if one of its sequences has it; the snippet is from the first sequence that has the first word.
DOCUMENTS = """with described as (
    select document_id, string_agg(replace(stratum, '_', ' ') || ' ' || value, ', ' order by stratum) as metadata
    from latest_strata
    where collection = $collection and value is not null
    group by document_id
),

found as (
    select
        document_id,
        any_value(document) as document,
        any_value(split) as split,
        count(*) as n_sequences,
        sum(n_tokens)::bigint as n_tokens,
        arg_min(sequence_id, {first}) as sequence_id,
        arg_min(text, {first}) as text
    from sequences
    where collection = $collection
    group by document_id
    having {words}
)

select
    f.document,
    f.split,
    d.metadata,
    trim(regexp_replace(
        substr(f.text, greatest(1, instr(lower(f.text), lower($first)) - 60), 180), '\\s+', ' ', 'g'
    )) as excerpt,
    f.n_sequences,
    f.n_tokens,
    f.document_id,
    f.sequence_id,
    count(*) over () as n_found
from found as f
left join described as d using (document_id)
where $value is null or exists (
    from latest_strata as s
    where s.collection = $collection and s.document_id = f.document_id and s.stratum = $stratum and s.value = $value
)
order by f.document
limit $shown"""
FIRST = "(not contains(lower(text), lower($first)), start)"
"""What the excerpt is chosen by: the first sequence, if it can be with the first word."""
WORD = "bool_or(contains(lower(text), lower($word{i})))"


def documents(collection: str) -> None:
    """Search and list; a ticked row opens its document where the first word is."""
    strata = ask(filled(STRATA, collection=collection))
    first, second, third = st.columns([4, 2, 2])
    words = typed("Words", "words", placeholder="words of the text", where=first).split()
    names = strata["stratum"].unique(maintain_order=True).to_list()
    stratum = choose("Metadata", "by_stratum", ["any", *names], format=_spaced, where=second)
    values = strata.filter(pl.col("stratum") == stratum)["value"].to_list()
    value = choose("Value", "value", values, where=third) if values else None
    each = {f"word{i}": word for i, word in enumerate(words)}
    having = " and ".join(WORD.format(i=i) for i in range(len(words))) or "true"
    sql = DOCUMENTS.format(words=having, first=FIRST if words else "start")
    panel(
        "Documents",
        filled(
            sql,
            collection=collection,
            stratum=stratum,
            value=value,
            shown=SHOWN,
            first=words[0] if words else "",
            **each,
        ),
        _table,
        note=f"At most {SHOWN} documents that have every word somewhere in their collected text. Metadata are what the corpus says of a "
        "document, as `collect.strata` names it. Tick a row to open the document.",
        empty="No document has these words and this metadata.",
    )


def _spaced(name: str) -> str:
    return name.replace("_", " ")


def _table(rows: pl.DataFrame) -> None:
    n = rows["n_found"][0]
    st.markdown(f"**{n:,}** found, first {rows.height} shown" if n > rows.height else f"**{n:,}** found")
    clicked = st.dataframe(
        rows.drop("n_found"),
        hide_index=True,
        key="documents",
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        column_config={
            "document": st.column_config.NumberColumn("document", format="%d", width=80),
            "metadata": st.column_config.TextColumn("metadata", width="medium"),
            "excerpt": st.column_config.TextColumn("text", width="large"),
            "n_sequences": st.column_config.NumberColumn("sequences", format="%d"),
            "n_tokens": st.column_config.NumberColumn("tokens", format="%d"),
            "document_id": "id",
            "sequence_id": st.column_config.NumberColumn("sequence", format="%d"),
        },
    )
    for place in clicked["selection"]["rows"]:
        st.query_params["document"] = rows["document_id"][place]
        st.query_params["sequence"] = str(rows["sequence_id"][place])
        st.rerun()
