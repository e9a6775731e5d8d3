"""Page ``reader``: the list of documents, or one of them whole, with features, norms and losses at its tokens."""

import streamlit as st

from dashboards.ui.address import collection, whole
from dashboards.ui.navigation import name_tab
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.reader.document import document
from dashboards.views.reader.documents import documents

WANTED = """with wanted as (
    select any_value(document_id) as document_id
    from sequences
    where collection = $collection
        and ($document_id is null or document_id = $document_id) and ($sequence_id is null or sequence_id = $sequence_id)
),

own as (
    select document_id, sequence_id, row_number() over (order by start, sequence_id) - 1 as place
    from sequences
    semi join wanted using (document_id)
    where collection = $collection
)

select document_id, if($sequence_id is null, null, place) as place
from own
where $sequence_id is null or sequence_id = $sequence_id
limit 1"""


def page() -> None:
    """Draw the page: the document that the address names, itself or by one of its sequences, else the list."""
    key = collection()
    document_id, sequence_id = st.query_params.get("document"), whole(st.query_params.get("sequence"))
    if document_id is None and sequence_id is None:
        documents(key)
        return
    found = ask(filled(WANTED, collection=key, document_id=document_id, sequence_id=sequence_id))
    if found.is_empty() and document_id is not None:
        found = ask(filled(WANTED, collection=key, document_id=document_id, sequence_id=None))
    if found.is_empty():
        named = f"sequence {sequence_id}" if document_id is None else f"document {document_id}"
        st.warning(plain(f"No {named} in this collection. Choose a document below."))
        documents(key)
        return
    row = found.row(0, named=True)
    name_tab(f"Document {row['document_id']}", "Reader")
    st.button("All documents", icon=":material/arrow_back:", on_click=_leave)
    document(key, row["document_id"], row["place"], sequence_id)


def _leave() -> None:
    """Take the document out of the address and keep the search."""
    for name in ("document", "sequence", "position", "part"):
        st.query_params.pop(name, None)
