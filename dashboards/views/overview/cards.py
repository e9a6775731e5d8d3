"""Cards of the page ``overview``: a finding each, in a sentence with its numbers, a small picture, and where there is more."""

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.drawing import draw_picture, drawn_charts
from dashboards.ui.export import export
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
        rows = ask(filled(OF_COLLECTION, collection=collection))
    except AtoError as error:
        st.error(plain(error))
        return
    found = findings_of(rows.iter_rows(named=True))
    if not found:
        st.info(EMPTY)
    for start in range(0, len(found), A_ROW):
        for column, finding in zip(st.columns(A_ROW), found[start : start + A_ROW]):
            with column:
                _card(finding, rows.filter(pl.col("finding") == finding.name), collection)


def _card(finding: Finding, rows: pl.DataFrame, collection: str) -> None:
    sql = filled(OF_FINDING, collection=collection, finding=finding.name)
    with st.container(border=True, height="stretch"):
        head = st.container(horizontal=True, wrap=False, vertical_alignment="center")
        head.subheader(finding.topic, anchor=False)
        st.markdown(plain(finding.text))
        with drawn_charts() as charts:
            if (drawn := picture(finding)) is not None:
                draw_picture(drawn.svg, width="stretch", alt=drawn.alt)
        with head:
            export(finding.topic, plain(finding.text), sql, rows, charts)
        link(PAGES[finding.page].title, finding.page)
        statement(finding.topic, sql, lambda: rows)
