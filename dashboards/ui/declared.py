"""What a panel is made of, declared once for the dashboard and the published site: one statement, and how to read its rows.

Statements have ``$name`` placeholders, filled as ``dashboards.ui.reading.filled`` does. A statement computes all that its
panel shows; a chart is of the data named ``rows``, which each of the two puts in its place.
"""

import textwrap
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import altair as alt

Format = Literal["auto", "integer", "percent", "signed", "list", "exact"]
ROWS = alt.NamedData(name="rows")
"""The rows of a statement, in a chart of a declared panel."""
ONE = alt.InlineData(values=[{}])
"""A single row, of lines that stand for themselves: zero, chance, a diagonal."""


@dataclass(frozen=True)
class Link:
    """Where a row leads."""

    page: str
    """Name of a page of the site; that of a single feature is part of the page ``features`` in the dashboard."""
    columns: dict[str, str]
    """Choice of that page -> column of the row."""


TO_FEATURE = Link("feature", {"sae": "sae", "feature_id": "feature_id"})
TO_OPERATOR = Link("operators", {name: name for name in ("source_layer", "target_layer", "method", "position_policy")})


@dataclass(frozen=True)
class Column:
    """A column of a table that is shown."""

    name: str
    title: str
    format: Format = "auto"
    width: int | None = None
    """In pixels, in the dashboard, which else measures the first rows."""


def interval(name: str, title: str) -> tuple[Column, Column, Column]:
    """A number and the ends of its 95 % interval."""
    return Column(name, title), Column(f"{name}_low", "95 % from"), Column(f"{name}_high", "to")


def names(columns: Iterable[Column]) -> str:
    """The names of columns, as a statement selects them."""
    listed = ", ".join(column.name for column in columns)
    return textwrap.fill(listed, 120, subsequent_indent="    ", break_long_words=False, break_on_hyphens=False)


@dataclass(frozen=True)
class Panel:
    """A title, the rows of one statement, and how to read them."""

    title: str
    sql: str
    note: str
    empty: str
    view: Literal["chart", "table", "facts", "windows", "sentences", "graph"] = "table"
    """``facts``: a card a row; ``windows``: texts whose tokens are coloured; ``sentences``: a list; ``graph``: nodes and edges."""
    chart: Any = None
    """An Altair chart of ``ROWS``; its table, if it names columns, stands below it."""
    alt: str = ""
    """What the chart shows, in words."""
    columns: tuple[Column, ...] = ()
    """Of a table or card; default: all."""
    link: Link | None = None
    """Where a row, or a mark of the chart, leads."""
    sides: dict[str, str] | None = None
    """Values of the column ``side`` -> colour: the rows of each stand beside those of the other, drawn alike."""
    wide: bool = True
    """Whether it takes the whole width; others stand in pairs."""
