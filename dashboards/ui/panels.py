"""A panel: a title, a picture of the rows of one SQL statement, how to read it, and that statement on request."""

from collections.abc import Callable

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.navigation import link
from dashboards.ui.reading import ask

SHOWN_ROWS = 1000
"""Rows of a panel's own table; the SQL page gives all."""
OPENED = False
"""Whether panels show their statements at first."""


def panel(
    title: str, sql: str, draw: Callable[[pl.DataFrame], None], *, note: str = "", empty: str = "There is nothing yet."
) -> None:
    """Draw the rows of a statement, and show the statement itself on request.

    What is drawn is what the statement gives: ``draw`` may arrange rows, never compute further numbers. A statement
    that fails (a damaged file, say) has its error in place of its picture; the rest of the page stands.

    Args:
        title: of the picture; no two on a page have the same.
        sql: the statement; it runs as it stands in ``ato sql``.
        draw: draws the rows.
        note: how to read it: what the axes are, their units, what n and an interval are.
        empty: said in place of the picture if there are no rows: what makes some.
    """
    with st.container(border=True):
        st.subheader(title, anchor=False)
        rows = _drawn(sql, draw, empty)
        if note:
            st.caption(note)
        # Sent on request only: a page has a dozen of these tables, and the browser draws hidden ones too.
        with st.expander("SQL", expanded=OPENED, key=f"SQL of {title}", on_change="rerun") as statement:
            if statement.open:
                st.code(sql, language="sql", wrap_lines=True)
                link("Open in the SQL page", "sql_bench", sql=sql)
                st.dataframe(rows.head(SHOWN_ROWS), hide_index=True)


def _drawn(sql: str, draw: Callable[[pl.DataFrame], None], empty: str) -> pl.DataFrame:
    """Draw the rows of a statement; returns them, none if it failed."""
    try:
        rows = ask(sql)
    except AtoError as error:
        st.error(str(error))
        return pl.DataFrame()
    if rows.is_empty():
        st.info(empty)
    else:
        draw(rows)
    return rows
