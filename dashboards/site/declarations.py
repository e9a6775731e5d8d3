"""What a page of the published site is made of: choices, which stand in its address, and declared panels.

The placeholders of statements are filled in the browser with the choices of the page; an empty choice is NULL.
"""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from dashboards.ui.chart_theme import ato, fitted_width
from dashboards.ui.declared import Column, Link, Panel

__all__ = ["Choice", "Column", "Link", "Page", "Panel", "described"]
HEIGHT = 280
"""Of a chart that names none."""


@dataclass(frozen=True)
class Choice:
    """A field above the panels, kept in the address as ``name=``."""

    name: str
    label: str
    options: str | tuple[str, ...] = ()
    """A statement whose first column holds the options and whose second, if there is one, their labels; it may name choices
    above it. Or the options. The first is the default."""
    kind: Literal["list", "text", "number", "state"] = "list"
    """``state``: what a panel keeps in the address; it has no field."""
    empty: str | None = None
    """Label of the option that chooses nothing, the default if there is one; of a text its placeholder."""
    prefix: str = ""
    """What its values begin with, options and those beyond them that the address names; readers may leave it out."""
    unlike: str | None = None
    """Choice before it from which it differs unless the address says so."""


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
    needs: str | None = None
    """Table or mart without whose rows the page says nothing, and is left out."""
    kind: str | None = None
    """Of pages ``name/kind``, which the address has as ``name``: what is chosen among them, named by the choice ``left``."""
    sides: str | None = None
    """Statement of a row for each ``side``, whose other columns fill the placeholders ``$left_`` and ``$right_`` of panels."""
    compared: str | None = None
    """What of the page can be compared with another, as addresses of comparisons have it, its choices as ``$name``."""

    def statements(self) -> list[str]:
        """All SQL of the page."""
        return [c.options for c in self.choices if isinstance(c.options, str)] + [panel.sql for panel in self.panels]


def described(page: Page) -> dict[str, Any]:
    """The page as the site has it: charts as Vega-Lite without data, as wide as their place, with the theme of all charts."""
    told = [
        replace(panel, chart=None, note=panel.note.replace("Tick a row to open", "A row opens"))
        for panel in page.panels
    ]
    found = asdict(replace(page, panels=tuple(told)))
    for written, panel in zip(found["panels"], page.panels, strict=True):
        if panel.chart is not None:
            written["chart"] = _specification(panel.chart)
        for column in written["columns"]:
            del column["width"]  # the browser's own tables measure all rows
    return found


def _specification(chart: Any) -> dict[str, Any]:
    found: dict[str, Any] = chart.to_dict()
    kept = {name: value for name, value in found.items() if name not in ("config", "$schema")}
    size = {"width": "container", "autosize": {"type": "fit-x", "contains": "padding"}}
    return _with_widths({"height": HEIGHT} | kept | size | {"config": ato()["config"]})


def _with_widths(part: Any) -> Any:
    """The part with ``{"name_width": 130}`` for each number of columns of a legend, which the browser counts before Vega draws."""
    if isinstance(part, list):
        return [_with_widths(item) for item in part]
    if (width := fitted_width(part)) is not None:
        return {"name_width": width}
    return {name: _with_widths(item) for name, item in part.items()} if isinstance(part, dict) else part
