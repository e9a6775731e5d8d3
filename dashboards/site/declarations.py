"""What a page of the published site is made of: choices, which stand in its address, and panels of one statement each.

Statements have ``$name`` placeholders, filled in the browser with the choices of the page, as ``dashboards.ui.reading.filled``
does; an empty choice is NULL. A statement computes all that its panel shows.
"""

from dataclasses import dataclass
from typing import Any, Literal

Format = Literal["auto", "integer", "percent", "signed", "list"]


@dataclass(frozen=True)
class Link:
    """Where a row leads."""

    page: str
    columns: dict[str, str]
    """Choice of that page -> column of the row."""


@dataclass(frozen=True)
class Choice:
    """A field above the panels, kept in the address as ``name=``."""

    name: str
    label: str
    options: str | tuple[str, ...] = ()
    """A statement whose first column holds the options and whose second, if there is one, their labels; it may name choices
    above it. Or the options. The first is the default."""
    kind: Literal["list", "text", "number"] = "list"
    empty: str | None = None
    """Label of the option that chooses nothing, the default if there is one; of a text its placeholder."""


@dataclass(frozen=True)
class Column:
    """A column of a table that is shown."""

    name: str
    title: str
    format: Format = "auto"


@dataclass(frozen=True)
class Panel:
    """A title, the rows of one statement, and how to read them."""

    title: str
    sql: str
    note: str
    empty: str
    view: Literal["chart", "table", "facts", "windows", "sentences"] = "table"
    """``facts``: a card a row; ``windows``: texts whose tokens are coloured; ``sentences``: a list."""
    chart: dict[str, Any] | None = None
    """Vega-Lite, of the data named ``rows``."""
    alt: str = ""
    """What the chart shows, in words."""
    columns: tuple[Column, ...] = ()
    """Of a table or card; default: all."""
    link: Link | None = None
    """Where a row, or a mark of the chart, leads."""
    wide: bool = True
    """Whether it takes the whole width; others stand in pairs."""
    of_text: bool = False
    """Whether it shows text of the corpus, and so is left out with it."""


@dataclass(frozen=True)
class Page:
    """A page of the site."""

    name: str
    """In the address."""
    title: str
    about: str
    """The question that it answers."""
    choices: tuple[Choice, ...] = ()
    panels: tuple[Panel, ...] = ()
    listed: bool = True
    """Whether it stands in the navigation."""

    def statements(self) -> list[str]:
        """All SQL of the page."""
        return [c.options for c in self.choices if isinstance(c.options, str)] + [panel.sql for panel in self.panels]
