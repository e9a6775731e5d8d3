"""A table of many rows, a page of them at a time: the browser is sent what it shows, and order is that of all rows."""

from collections.abc import Callable, Mapping
from typing import Any

import polars as pl
import streamlit as st

PAGE_ROWS = 500
"""Rows of a page; a table that has no more is sent whole, and its columns sort it."""
AS_LISTED = "as listed"


@st.fragment
def paged(
    rows: pl.DataFrame,
    key: str,
    chosen: Callable[[int], None],
    *,
    titles: Mapping[str, str],
    sent: Callable[[pl.DataFrame], Any] = lambda rows: rows,
    **options: Any,
) -> None:
    """Draw a table, of which a ticked row is chosen. Only the table is drawn again when its order or page changes.

    Args:
        rows: all of them.
        key: of the table on its page.
        chosen: is given the number of the ticked row among ``rows``.
        titles: column -> its name in the field of orders.
        sent: makes of the shown rows what is sent.
        options: of ``st.dataframe``.
    """
    numbered = rows.with_row_index("number of the row")
    if rows.height > PAGE_ROWS:
        numbered = _page(numbered, key, titles)
    numbers = numbered["number of the row"]
    clicked = st.dataframe(
        sent(numbered.drop("number of the row")),
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        **options,
    )
    for place in clicked["selection"]["rows"]:
        chosen(numbers[place])


def _page(rows: pl.DataFrame, key: str, titles: Mapping[str, str]) -> pl.DataFrame:
    """The rows of the chosen page, in the chosen order; NULL comes last."""
    order, direction, place = st.columns([2, 1, 4], vertical_alignment="bottom")
    column = order.selectbox(
        "Sort all rows by", [AS_LISTED, *titles], format_func=lambda name: titles.get(name, name), key=f"order of {key}"
    )
    down = direction.toggle("descending", value=True, disabled=column == AS_LISTED, key=f"direction of {key}")
    with place:
        number = st.pagination(-(-rows.height // PAGE_ROWS), key=f"page of {key}")
    if column != AS_LISTED:
        rows = rows.sort(column, descending=down, nulls_last=True, maintain_order=True)
    first = (number - 1) * PAGE_ROWS
    st.caption(f"Rows {first + 1:,} to {min(first + PAGE_ROWS, rows.height):,} of {rows.height:,}")
    return rows.slice(first, PAGE_ROWS)
