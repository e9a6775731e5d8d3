"""Tables that show rows as they are: names and formats of their columns, a dash for what is missing."""

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from ato.text.display import DIRECTIONS

score = partial(st.column_config.NumberColumn, format="%.3f")
"""A column of scores, to three decimals."""


def heading(name: str) -> str:
    """The heading of a column that is given none, in words; the ends of an interval stand beside what it is of.

    >>> heading("n_features_scored"), heading("mean_r2_low"), heading("mean_r2_high")
    ('features scored', '95 % from', 'to')
    """
    if name.endswith("_low"):
        return "95 % from"
    return "to" if name.endswith("_high") else name.removeprefix("n_").replace("_", " ")


def headings(names: Iterable[str], format: str | None = None) -> dict[str, Any]:
    """Headings in words of columns of this format, for ``column_config``."""
    if format is None:
        return {name: heading(name) for name in names}
    return {name: st.column_config.NumberColumn(heading(name), format=format) for name in names}


def table(
    rows: pl.DataFrame,
    columns: dict[str, Any],
    order: list[str] | None = None,
    written: Mapping[str, Callable[[float], str]] | None = None,
) -> None:
    """Draw rows.

    Args:
        rows: to draw.
        columns: column -> its heading, or its heading and format; others are headed by their names, in words.
        order: columns that are shown; default: all.
        written: column -> how its numbers are written, where one format does not fit all, as ``exact``.
    """
    shown: Any = undirected(rows)
    if written:
        shown = shown.to_pandas().style.format(dict(written), na_rep="–")
    st.dataframe(
        shown,
        hide_index=True,
        placeholder="–",
        column_order=order,
        column_config=headings(rows.columns) | columns,
    )


def exact(value: float) -> str:
    """A count to the last digit, another number to four significant ones.

    >>> exact(59904.0), exact(0.123456)
    ('59,904', '0.1235')
    """
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:.4g}"


def signed(value: float) -> str:
    """The same of a difference."""
    return exact(value) if value <= 0 else f"+{exact(value)}"


def ticked(rows: pl.DataFrame, columns: dict[str, Any], key: str) -> int | None:
    """Draw rows of which one can be ticked; returns the number of that one.

    Args:
        rows: to draw.
        columns: as of ``table``; None: a column that is not shown.
        key: of the table on its page.
    """
    clicked = st.dataframe(
        undirected(rows),
        hide_index=True,
        key=key,
        on_select="rerun",
        selection_mode="single-row",
        placeholder="–",
        column_config=headings(rows.columns) | columns,
    )
    return next(iter(clicked["selection"]["rows"]), None)


def undirected(rows: pl.DataFrame) -> pl.DataFrame:
    """The rows with changes of direction shown instead of obeyed: a token could make a cell read backwards."""
    return rows.with_columns(
        pl.col(pl.String).str.replace_all(f"[{DIRECTIONS}]", "\ufffd"),
        pl.col(pl.List(pl.String)).list.eval(pl.element().str.replace_all(f"[{DIRECTIONS}]", "\ufffd")),
    )
