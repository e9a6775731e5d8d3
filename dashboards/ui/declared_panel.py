"""Draws a declared panel in the dashboard: its chart over the rows of its statement, and its columns as a table."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import cycle
from typing import Any

import altair as alt
import polars as pl
import polars.selectors as cs
import streamlit as st

from dashboards.ui.declared import Column, Panel
from dashboards.ui.drawing import draw_chart
from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import exact, signed, table, ticked
from dashboards.ui.windows import coloured, leads_to_text

PAGES = {"feature": "features"}
"""Page of the site -> page of the dashboard, where their names differ."""
FORMATS = {"integer": "localized", "percent": "percent", "signed": "%+.4g"}
WRITTEN = {"exact": exact, "signed": signed}
"""How numbers are written in tables in which counts stand among others."""


def draw_panel(declared: Panel, draw: Callable[[pl.DataFrame], None] | None = None, /, **values: object) -> None:
    """Draw a panel with its placeholders filled.

    Args:
        declared: the panel.
        draw: draws the rows; default: the chart, then the table.
        values: name of a placeholder -> value.
    """
    drawn = draw or partial(draw_rows, declared)
    panel(declared.title, filled(declared.sql, **values), drawn, note=declared.note, empty=declared.empty)


def draw_rows(declared: Panel, rows: pl.DataFrame) -> None:
    """Draw the chart of a panel and the columns that it names, or its windows of text."""
    if declared.sides is not None:
        _draw_sides(declared, declared.sides, rows)
        return
    if declared.view == "windows":
        _draw_windows(rows)
        return
    if declared.chart is not None:
        draw_chart(of_rows(declared.chart, rows), alt=declared.alt)
    if declared.chart is None or declared.columns:
        draw_table(declared, rows)


def _draw_sides(declared: Panel, sides: dict[str, str], rows: pl.DataFrame) -> None:
    """The rows of each side in a column of its own."""
    for (side, colour), place in zip(sides.items(), st.columns(len(sides))):
        own = rows.filter(rows["side"] == side)
        with place:
            st.html(f"<b style='color:{colour}'>■ {side}</b>")
            if own.is_empty():
                st.caption("Nothing is stored of it.")
            else:
                draw_rows(replace(declared, sides=None), own)


def _draw_windows(rows: pl.DataFrame) -> None:
    """Windows of text, each with the way to the text that it is from."""
    for row in rows.iter_rows(named=True):
        st.html(coloured(row["tokens"], row["activations"], row["largest"], row["position"] - row["start"]))
        leads_to_text(row, row["collection"], f"{row['activation']:.3f}, ")


def of_rows(chart: Any, rows: pl.DataFrame) -> Any:
    """The chart over these rows; lists are not drawn, and legends name what the rows have."""
    found = chart.copy()
    for part in getattr(found, "layer", [found]):
        for channel in ("color", "shape"):
            _name_present(part.encoding[channel], rows)
        if isinstance(part["data"], alt.NamedData):  # it takes those of the whole chart
            part["data"] = alt.Undefined
    found.data = rows.select(~cs.nested())
    return found


def _name_present(channel: Any, rows: pl.DataFrame) -> None:
    """Keep the fixed looks of the names that there are; names without one take what is left of the range in turn."""
    if not isinstance(channel, alt.Color | alt.Shape) or not isinstance(channel["scale"], alt.Scale):
        return
    field, _, kind = str(channel["shorthand"]).partition(":")
    scale = channel["scale"].copy()
    names, looks = scale["domain"], scale["range"]
    if field not in rows.columns or kind != "N" or not isinstance(names, list) or not isinstance(looks, list):
        return
    there = set(rows[field].drop_nulls())
    fixed = {name: look for name, look in zip(names, looks) if name in there}
    others = dict(zip(sorted(there - fixed.keys()), cycle(looks[len(names) :] or looks)))
    named = fixed | others
    scale["domain"], scale["range"] = list(named), list(named.values())
    channel["scale"] = scale


def draw_table(declared: Panel, rows: pl.DataFrame) -> None:
    """Draw the named columns; if rows lead somewhere, a ticked one is followed."""
    columns = declared.columns or tuple(Column(name, name.replace("_", " ")) for name in rows.columns)
    drawn = rows.select([column.name for column in columns])
    is_mixed = any(column.format == "exact" for column in columns)
    written = {column.name: WRITTEN[column.format] for column in columns if is_mixed and column.format in WRITTEN}
    configured = {
        column.name: _configured(column, None if column.name in written else rows.schema[column.name])
        for column in columns
    }
    if declared.link is None:
        table(drawn, configured, written=written)
        return
    number = ticked(drawn, configured, f"rows: {declared.title}")
    if number is not None:
        row, link = rows.row(number, named=True), declared.link
        go(PAGES.get(link.page, link.page), **{choice: row[column] for choice, column in link.columns.items()})


def _configured(column: Column, kind: pl.DataType | None) -> Any:
    """The heading and format of a column of this kind; None: its values are written already."""
    if kind is None:
        return st.column_config.Column(column.title, width=column.width)
    if kind.is_numeric():
        plain = "%.4g" if kind.is_float() else "%d"
        return st.column_config.NumberColumn(column.title, width=column.width, format=FORMATS.get(column.format, plain))
    if kind.is_nested():
        return st.column_config.ListColumn(column.title, width=column.width)
    return st.column_config.Column(column.title, width=column.width)
