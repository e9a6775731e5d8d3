"""What charts share: a colour-blind safe palette, axes with names and units, intervals."""

from collections.abc import Iterable, Sequence
from typing import Any

import altair as alt

from ato.evaluation.map_colours import ANCHORS
from ato.operators.methods import METHODS
from dashboards.ui.chart_theme import WHOLE, fitting_columns

CATEGORIES = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#999999")
"""Okabe and Ito's palette; readable on white and on black."""
VERDICTS = {"transported": "#0072B2", "undetermined": "#999999", "computed": "#E69F00"}
"""Verdict -> its colour."""
SPACED = "replace(datum.label, /_/g, ' ')"
"""A label of a legend or an axis of names that the tables write with underscores."""
THOUSANDS = "datum.value === 0 ? '0' : format(datum.value, '~s')"
"""A label of an axis of large counts; d3 would write a zero among thousands as 0k."""
VERDICT_MEANINGS = (
    "Transported: the 95 % interval of r2 lies above the upper threshold (default 0.7). Computed: it lies below the lower "
    "threshold (default 0.3). Undetermined: neither."
)


COUNTS = alt.Scale(type="log", scheme=alt.SchemeParams(name="viridis", extent=[0.2, 1]))
"""Colours of counts in tiles, from one on: the scheme's first ones are not seen in the dark."""


def method_colours(names: Sequence[str]) -> dict[str, str]:
    """The colour of each method, which is one on all pages; those without one take what is left of the palette in turn."""
    colours = {name: METHODS[name].colour for name in names if name in METHODS}
    named = {name: colour for name, colour in colours.items() if colour is not None}
    free = [colour for colour in CATEGORIES if colour not in named.values()]
    named |= dict(zip([name for name in names if name not in named], [*free, *CATEGORIES]))
    return {name: named[name] for name in in_method_order(named)}


def in_method_order(names: Iterable[str]) -> list[str]:
    """Names of methods in the order of the registry; those that it does not have come last."""
    order = list(METHODS)
    return sorted(names, key=lambda name: (order.index(name) if name in METHODS else len(order), name))


def map_scale() -> alt.Scale:
    """The colours of maps of r2 from 0 to 1, those of the report and the terminal."""
    places = [i / (len(ANCHORS) - 1) for i in range(len(ANCHORS))]
    return alt.Scale(domain=places, range=list(ANCHORS), interpolate="rgb", clamp=True)


def coloured(field: str, colours: dict[str, str], title: str | None, others: Sequence[str] = ()) -> alt.Color:
    """A fixed colour for each listed name; others get colours of their own, in a declared panel these."""
    scale = alt.Scale(domain=list(colours), range=[*colours.values(), *others])
    return alt.Color(f"{field}:N", title=title, scale=scale)


def verdict_colours() -> alt.Color:
    """The colour of each verdict, with a legend."""
    return coloured("verdict", VERDICTS, "verdict").legend(orient="top", columns=fitting_columns(100))


def with_intervals(
    rows: Any,
    *,
    x: Any,
    y: str,
    y_title: str,
    colour: Any = None,
    line: bool = True,
    tooltip: list[alt.Tooltip] | None = None,
    zero: bool = False,
) -> alt.LayerChart | alt.FacetChart:
    """Points (and a line) with their 95 % intervals: columns ``y``, ``y_low`` and ``y_high``; NULL is not drawn.

    A frame without the columns of the interval gives points (and a line) alone.

    Args:
        rows: a data frame.
        x: encoding of the horizontal axis.
        y: column.
        y_title: name and unit of the vertical axis.
        colour: encoding of the colour.
        line: whether to join the points.
        tooltip: fields shown on hover.
        zero: whether the axis must include 0.
    """
    encoded: dict[str, Any] = {"x": x} | ({} if colour is None else {"color": colour})
    base = alt.Chart(rows).encode(**encoded, tooltip=tooltip or alt.Undefined)
    vertical = alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(zero=zero))
    layers = [base.mark_point(filled=True, size=45, opacity=1).encode(y=vertical)]
    if f"{y}_low" in rows.columns:
        ends = base.mark_rule(strokeWidth=1.5, opacity=0.7)
        layers.insert(0, ends.encode(y=alt.Y(f"{y}_low:Q", title=y_title), y2=alt.Y2(f"{y}_high:Q")))
    if line:
        layers.append(base.mark_line().encode(y=vertical))
    return alt.LayerChart(layer=layers)


def number(field: str, title: str, format: str = ".3f") -> alt.Tooltip:
    """A number in the tooltip."""
    return alt.Tooltip(f"{field}:Q", title=title, format=format)


def numbered(field: str, title: str, n: int) -> alt.Color:
    """Colours of layers or leaps: the palette for up to seven, else a sequential scheme."""
    scale = alt.Scale(range=list(CATEGORIES)) if n <= len(CATEGORIES) else alt.Scale(scheme="viridis")
    return alt.Color(
        f"{field}:N", title=title, scale=scale, legend=alt.Legend(orient="top", columns=fitting_columns(50))
    )


def whole(field: str, title: str) -> alt.X:
    """A horizontal axis of whole numbers."""
    scale = alt.Scale(zero=False, nice=False, padding=14)
    return alt.X(f"{field}:Q", title=title, scale=scale, axis=WHOLE)


def rates_histogram(rows: Any) -> alt.Chart:
    """Bars of ``n_features`` from ``rate_from`` to ``rate_to``, on a logarithmic axis of activation rates."""
    return (
        alt.Chart(rows)
        .mark_bar(color=CATEGORIES[0])
        .encode(
            x=alt.X(
                "rate_from:Q",
                title="activation rate (share of tokens)",
                scale=alt.Scale(type="log"),
                axis=alt.Axis(format="~g", grid=False),
            ),
            x2=alt.X2("rate_to"),
            y=alt.Y("n_features:Q", title="features", axis=alt.Axis(tickMinStep=1)),
            y2=alt.Y2Datum(0),
            tooltip=[
                number("rate_from", "from", ".3~g"),
                number("rate_to", "to", ".3~g"),
                number("n_features", "features", ",d"),
            ],
        )
        .properties(height=300)
    )
