"""Style and rendering of figures: SVG for the page; SVG, PDF and PNG for files; equal rows give equal bytes."""

import io
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from matplotlib.figure import Figure

COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00")
"""Okabe and Ito's colour-blind safe palette."""
INK = "#1a1c1f"
"""Lines and text; replaced on the page by its text colour."""
MUTED = "#8a8f98"
WIDTH = 8.6
"""Width of every figure, in inches."""
DPI = 144
LONGEST = 44
"""Characters of a name on an axis, in a legend or a title; longer ones are cut in the middle."""

Draw = Callable[["Figure", list[dict[str, Any]]], None]


@contextmanager
def _style(key: str) -> Iterator[None]:
    """matplotlib's settings: none of the user's configuration, ids that depend on the figure only."""
    import matplotlib

    own: dict[Any, Any] = {
        "svg.hashsalt": key,
        "svg.fonttype": "none",
        "pdf.fonttype": 42,  # TrueType: journals refuse the default, Type 3
        "font.family": "DejaVu Sans",
        "font.size": 9.0,
        "axes.spines.top": False,
        "axes.spines.right": False,
        "axes.titlesize": 9.5,
        "axes.titleweight": "bold",
        "axes.edgecolor": INK,
        "axes.labelcolor": INK,
        "axes.titlecolor": INK,
        "text.color": INK,
        "xtick.color": INK,
        "ytick.color": INK,
        "axes.grid": True,
        "grid.color": MUTED,
        "grid.alpha": 0.25,
        "legend.frameon": False,
        "lines.linewidth": 1.6,
        "axes.unicode_minus": True,
    }
    with matplotlib.rc_context():
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(own)
        yield


def _figure(draw: Draw, rows: list[dict[str, Any]]) -> "Figure":
    # No pyplot: it keeps figures in a global list and picks a backend that may need a screen.
    from matplotlib.figure import Figure

    figure = Figure(figsize=(WIDTH, 3.6), layout="constrained")
    draw(figure, rows)
    _shorten(figure)
    return figure


def _shorten(figure: "Figure") -> None:
    """Cut names that would leave no room for the axes: models, judges and SAEs may be called anything."""
    from matplotlib.text import Text

    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            names = [label.get_text() for label in axis.get_ticklabels()]
            if any(
                shortened(name) != name for name in names
            ):  # ticks take their texts from the axis when they are drawn
                axis.set_ticklabels([shortened(name) for name in names])
    for text in figure.findobj(Text):
        text.set_text(shortened(text.get_text()))


def shortened(text: str) -> str:
    """Each line of a text with at most ``LONGEST`` characters: its beginning and its end.

    >>> shortened("a" * 50 + "z" * 50)
    'aaaaaaaaaaaaaaaaaaaaaa…zzzzzzzzzzzzzzzzzzzzz'
    """
    half = LONGEST // 2
    lines = text.split("\n")
    return "\n".join(x if len(x) <= LONGEST else f"{x[:half]}…{x[1 - half :]}" for x in lines)


def svg(key: str, draw: Draw, rows: list[dict[str, Any]]) -> str:
    """A figure as an SVG element of a page: no background, text in the page's colour, ids prefixed with the key."""
    stream = io.BytesIO()
    with _style(key):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        _figure(draw, rows).savefig(stream, format="svg", transparent=True, metadata=nothing)
    return _for_page(stream.getvalue().decode(), key)


def svg_document(key: str, draw: Draw, rows: list[dict[str, Any]]) -> str:
    """A figure as an SVG document on white, its text as text."""
    stream = io.BytesIO()
    with _style(key):
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        _figure(draw, rows).savefig(stream, format="svg", facecolor="white", metadata=nothing)
    return stream.getvalue().decode()


def pdf(key: str, draw: Draw, rows: list[dict[str, Any]]) -> bytes:
    """A figure as a PDF document of lines and text, its fonts inside."""
    stream = io.BytesIO()
    with _style(key):
        nothing = dict.fromkeys(("CreationDate", "Creator", "Producer"))
        _figure(draw, rows).savefig(stream, format="pdf", facecolor="white", metadata=nothing)
    return stream.getvalue()


def png(key: str, draw: Draw, rows: list[dict[str, Any]]) -> bytes:
    """A figure as a PNG file on white."""
    stream = io.BytesIO()
    with _style(key):
        _figure(draw, rows).savefig(stream, format="png", dpi=DPI, facecolor="white", metadata={"Software": None})
    return stream.getvalue()


def _for_page(text: str, key: str) -> str:
    """Strip what only a standalone file needs (schemas, metadata, sizes) and prefix the ids."""
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    head, rest = text.split(">", 1)
    (box,) = re.findall(r'viewBox="[^"]*"', head)
    rest = re.sub(r"<style.*?</style>|font-family: [^;\"]*;? ?", "", rest, flags=re.DOTALL)  # the page's style decides
    rest = rest.replace("xlink:href", "href").replace(INK, "currentColor")
    rest = re.sub(r'\bid="', f'id="{key}-', rest)
    rest = re.sub(r'(href="|url\()#', rf"\1#{key}-", rest)
    rest = re.sub(r"\n\s*", "\n", rest)
    return f'<svg {box} aria-hidden="true" focusable="false">{rest.strip()}'


def interval_bars(axes: Any, x: Any, rows: list[dict[str, Any]], name: str, colour: str, **options: Any) -> None:
    """Points of the column ``name`` with error bars from ``name_low`` to ``name_high``."""
    values = [row[name] for row in rows]
    below = [_distance(row[name], row[f"{name}_low"]) for row in rows]
    above = [_distance(row[f"{name}_high"], row[name]) for row in rows]
    axes.errorbar(x, values, yerr=[below, above], color=colour, capsize=2.5, elinewidth=1.0, **options)


def _distance(high: float | None, low: float | None) -> float:
    return max(high - low, 0.0) if high is not None and low is not None else 0.0


def grid_shape(n: int, columns: int) -> tuple[int, int]:
    """Rows and columns of a grid of n charts."""
    width = max(1, min(n, columns))
    return -(-n // width), width


def mark(name: str, colour: str) -> Any:
    """An entry of a legend: a dot of that colour."""
    from matplotlib.lines import Line2D

    return Line2D([], [], marker="o", ls="", color=colour, label=name.replace("_", " "))
