"""A panel: a title, a chart of the rows of one SQL statement, a note, and on request the statement and files for a paper."""

from collections.abc import Callable

import polars as pl
import streamlit as st

from ato.errors import AtoError
from dashboards.ui.drawing import drawn_charts
from dashboards.ui.export import export
from dashboards.ui.navigation import link
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask
from dashboards.ui.row_places import rows_with_places

SHOWN_ROWS = 1000
"""Rows in the table below a panel's statement; the SQL page shows more."""
OPENED = False
"""Whether panels start with their statements and their code shown."""


def panel(
    title: str, sql: str, draw: Callable[[pl.DataFrame], None], *, note: str = "", empty: str = "No data yet."
) -> None:
    """Draw the rows of a statement, and show the statement and export chart and rows on request.

    ``draw`` may arrange rows but not compute numbers: the chart shows what the statement returns. Charts that it draws with
    ``draw_chart`` can be exported. If the statement fails (a damaged file, say), its error takes the place of the chart; the
    rest of the page is unaffected.

    Args:
        title: unique on its page.
        sql: the statement; it runs unchanged in ``ato sql``.
        draw: draws the rows.
        note: how to read the chart: axes, units, n, intervals.
        empty: shown if there are no rows; names the command that makes them.
    """
    with st.container(border=True):
        head = st.container(horizontal=True, wrap=False, vertical_alignment="center")
        head.subheader(title, anchor=False)
        with drawn_charts() as charts:
            rows = _drawn(sql, draw, empty)
        if not rows.is_empty():
            with head:
                export(title, note, sql, rows, charts)
        if note:
            st.caption(note)
        statement(title, sql, lambda: rows)


def beside(left: Callable[[], None], right: Callable[[], None]) -> None:
    """Draw two panels side by side."""
    for place, draw in zip(st.columns(2), (left, right)):
        with place:
            draw()


def statement(title: str, sql: str, rows: Callable[[], pl.DataFrame]) -> None:
    """The statement of a panel and its rows, sent on request only: the browser draws tables that are hidden, too.

    Args:
        title: of the panel.
        sql: the statement.
        rows: gives what it returns.
    """
    with st.expander("SQL", expanded=OPENED, key=f"SQL of {title}", on_change="rerun") as shown:
        if shown.open:
            st.code(sql, language="sql", wrap_lines=True)
            link("Open in the SQL page", "sql_bench", sql=sql)
            rows_with_places(rows().head(SHOWN_ROWS), f"rows of {title}")


def code(label: str, *texts: str, language: str) -> None:
    """Code to take along, sent on request only: to colour the first that it shows, a browser loads 1.5 MB.

    Args:
        label: of what opens it, unique on its page.
        texts: a block each.
        language: as in ``st.code``.
    """
    with st.expander(label, expanded=OPENED, key=f"code: {label}", icon=":material/code:", on_change="rerun") as shown:
        if shown.open:
            for text in texts:
                st.code(text, language=language, wrap_lines=True)


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
