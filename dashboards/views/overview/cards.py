"""Cards of the page ``overview``: a finding each, in a sentence with its numbers, a small picture, and where there is more."""

import streamlit as st

from ato.errors import AtoError
from dashboards.ui.navigation import PAGES, link
from dashboards.ui.panels import statement
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled
from dashboards.views.overview.pictures import picture
from warehouse.catalog.finding_texts import OF_COLLECTION, OF_FINDING, Finding, findings_of

A_ROW = 2
"""Cards beside each other."""
EMPTY = "Nothing is found yet: run `ato run pipeline`, or see under Operations what is missing."


def cards(collection: str) -> None:
    """All findings of a collection, from one query; the statement on a card is that of its own rows.

    If a table that the mart reads is damaged, its error takes the place of the cards; the rest of the page is unaffected.
    """
    try:
        found = findings_of(ask(filled(OF_COLLECTION, collection=collection)).iter_rows(named=True))
    except AtoError as error:
        st.error(plain(error))
        return
    if not found:
        st.info(EMPTY)
    for start in range(0, len(found), A_ROW):
        for column, finding in zip(st.columns(A_ROW), found[start : start + A_ROW]):
            with column:
                _card(finding, collection)


def _card(finding: Finding, collection: str) -> None:
    sql = filled(OF_FINDING, collection=collection, finding=finding.name)
    with st.container(border=True, height="stretch"):
        st.subheader(finding.topic, anchor=False)
        st.markdown(plain(finding.text))
        drawn = picture(finding)
        if drawn is not None:
            st.image(drawn.svg, width="stretch", alt=drawn.alt)
        link(PAGES[finding.page].title, finding.page)
        statement(finding.topic, sql, lambda: ask(sql))
