"""A panel: a title, a chart of the rows of one SQL statement, a note, and the statement on request."""

from collections.abc import Callable

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.navigation import link
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask
from dashboards.ui.row_places import rows_with_places

SHOWN_ROWS = 1000
"""Rows in the table below a panel's statement; the SQL page shows more."""
OPENED = False
"""Whether panels start with their statements shown."""


def panel(
    title: str, sql: str, draw: Callable[[pl.DataFrame], None], *, note: str = "", empty: str = "No data yet."
) -> None:
    """Draw the rows of a statement, and show the statement on request.

    ``draw`` may arrange rows but not compute numbers: the chart shows what the statement returns. If the statement fails
    (a damaged file, say), its error takes the place of the chart; the rest of the page is unaffected.

    Args:
        title: unique on its page.
        sql: the statement; it runs unchanged in ``ato sql``.
        draw: draws the rows.
        note: how to read the chart: axes, units, n, intervals.
        empty: shown if there are no rows; names the command that makes them.
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
                rows_with_places(rows.head(SHOWN_ROWS), f"rows of {title}")


def _drawn(sql: str, draw: Callable[[pl.DataFrame], None], empty: str) -> pl.DataFrame:
    """Draw the rows of a statement and return them; an empty frame if it failed."""
    try:
        rows = ask(sql)
    except AtoError as error:
        st.error(plain(error))
        return pl.DataFrame()
    if rows.is_empty():
        st.info(empty)
    else:
        draw(rows)
    return rows
