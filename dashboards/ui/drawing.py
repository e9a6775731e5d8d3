"""Charts of the pages: drawn as Streamlit does, and known to the panel that they stand in, which exports them."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Lock
from typing import Any, NamedTuple

import altair as alt
import streamlit as st


class Drawn(NamedTuple):
    """A chart of a panel."""

    chart: Any
    """As Altair has it, or an SVG as text."""
    alt: str
    """Its text alternative."""


CHECKED = True
"""Whether charts are held against the schema of Vega-Lite; see ``draw_quickly``."""

_drawn: ContextVar[list[Drawn] | None] = ContextVar("charts of the panel that is being drawn", default=None)
_altair = Lock()
"""What Altair does with data is one setting for all threads, and Streamlit changes it while it takes a chart."""


def draw_chart(chart: Any, *, alt: str, **options: Any) -> Any:
    """Draw an Altair chart; arguments and result are those of ``st.altair_chart``."""
    _know(Drawn(chart, alt))
    with _altair:
        asked: Any = chart if CHECKED else _Unchecked(chart)
        return st.altair_chart(asked, alt=alt, **options)


class _Unchecked(NamedTuple):
    """A chart as Streamlit asks for it, without the check."""

    chart: Any

    def to_dict(self) -> dict[str, Any]:
        found: dict[str, Any] = self.chart.to_dict(validate=False)
        return found


def draw_quickly() -> None:
    """From now on draw charts without what Altair does for people who explore: most of the time of a finished page's charts.

    They are no longer held against the schema: tests do that.
    """
    global CHECKED
    from altair.utils import schemapi

    CHECKED = False
    schemapi.disable_debug_mode()


def draw_picture(svg: str, *, alt: str, **options: Any) -> Any:
    """Draw an SVG; arguments and result are those of ``st.image``."""
    _know(Drawn(svg, alt))
    return st.image(svg, alt=alt, **options)


@contextmanager
def drawn_charts() -> Iterator[list[Drawn]]:
    """The charts and pictures that are drawn by this module until the block ends, in order."""
    found: list[Drawn] = []
    token = _drawn.set(found)
    try:
        yield found
    finally:
        _drawn.reset(token)


def _know(drawn: Drawn) -> None:
    found = _drawn.get()
    if found is not None:
        found.append(drawn)


def specification(chart: Any) -> dict[str, Any]:
    """A chart as a Vega-Lite specification that holds its data, all rows of them."""
    with _altair, alt.data_transformers.enable("default", max_rows=None), alt.theme.enable("none"):
        found: dict[str, Any] = chart.to_dict()
    return found
