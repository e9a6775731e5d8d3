"""What the panels of two things share: one colour a side, charts on one axis, and the table of differences."""

from collections.abc import Iterable
from typing import Any

import altair as alt

from dashboards.ui.charts import CATEGORIES, coloured
from dashboards.ui.declared import ROWS, Column, Panel
from warehouse.catalog.compared.statements import SIDES, Part

COLOURS = dict(zip(SIDES, (CATEGORIES[0], CATEGORIES[1])))


def shown(part: Part, **looks: Any) -> Panel:
    """The panel of a part of a comparison; ``looks`` as of ``Panel``."""
    if "chart" in looks:
        looks = {"view": "chart"} | looks
    return Panel(part.title, part.sql, part.note, part.empty, **looks)


def differences(part: Part) -> Panel:
    """Both values of each quantity, and their difference with its interval."""
    return shown(
        part,
        columns=(
            Column("quantity", "quantity", width=230),
            Column("left_value", "left", "exact", 105),
            Column("right_value", "right", "exact", 105),
            Column("difference", "right less left", "signed", 105),
            Column("difference_low", "95 % from", "signed", 90),
            Column("difference_high", "to", "signed", 90),
            Column("paired_by", "paired by"),
            Column("n_paired", "pairs", "integer"),
            Column("unit", "unit", width=220),
            *(
                Column(f"{side}_{name}", f"{side} {title}", "integer" if name == "n" else "auto")
                for side in SIDES
                for name, title in (("low", "from"), ("high", "to"), ("n", "n"))
            ),
            Column("n_of", "n of"),
        ),
    )


def side_colour() -> alt.Color:
    """The colour of each side, with a legend."""
    return coloured("side", COLOURS, None).legend(orient="top")


def histograms(x: alt.X, upper: str, y_title: str, tooltip: Iterable[alt.Tooltip], *, height: int = 300) -> alt.Chart:
    """Bars of ``share`` over the bins of each side, which begin at ``x`` and end at ``upper``, both sides one over the other."""
    return (
        alt.Chart(ROWS, height=height)
        .mark_bar(opacity=0.55)
        .encode(
            x=x,
            x2=alt.X2(f"{upper}:Q"),
            y=alt.Y("share:Q", title=y_title, stack=None, axis=alt.Axis(format="%")),
            y2=alt.Y2Datum(0),
            color=side_colour(),
            tooltip=[alt.Tooltip("side:N"), *tooltip],
        )
    )


def curves(
    x: alt.X, y: str, title: str, tooltip: Iterable[alt.Tooltip], *, scale: alt.Scale | None = None
) -> list[alt.Chart]:
    """The layers of a line a side."""
    base = alt.Chart(ROWS).encode(x=x, color=side_colour(), tooltip=[alt.Tooltip("side:N"), *tooltip])
    return [base.mark_line().encode(y=alt.Y(f"{y}:Q", title=title, scale=alt.Scale() if scale is None else scale))]


def curves_with_intervals(x: alt.X, y: str, title: str, tooltip: Iterable[alt.Tooltip]) -> list[alt.Chart]:
    """The layers of a line a side, with points and the intervals ``y_low`` to ``y_high``."""
    (line,) = curves(x, y, title, tooltip)
    points = line.mark_point(filled=True, size=35, opacity=1)
    ends = line.mark_rule(opacity=0.6).encode(y=alt.Y(f"{y}_low:Q", title=title), y2=alt.Y2(f"{y}_high:Q"))
    return [line, points, ends]


def scatter(left: str, right: str, title: str, tooltip: list[alt.Tooltip]) -> alt.LayerChart | alt.FacetChart:
    """One point a row, left against right, with the line on which nothing differs.

    It goes from ``lowest`` to ``highest``, the same in all rows, and makes both axes of one length.
    """
    scale = alt.Scale(zero=False, nice=False)
    ends = alt.Chart(ROWS).transform_aggregate(lowest="min(lowest)", highest="max(highest)")
    return alt.layer(
        ends.mark_rule(strokeDash=[4, 4], color="#888888").encode(
            x=alt.X("lowest:Q", title=f"{title}, left", scale=scale),
            y=alt.Y("lowest:Q", title=f"{title}, right", scale=scale),
            x2=alt.X2("highest:Q"),
            y2=alt.Y2("highest:Q"),
        ),
        alt.Chart(ROWS)
        .mark_circle(size=28, opacity=0.6, color=CATEGORIES[2])
        .encode(
            x=alt.X(f"{left}:Q", title=f"{title}, left", scale=scale),
            y=alt.Y(f"{right}:Q", title=f"{title}, right", scale=scale),
            tooltip=tooltip,
        ),
        data=ROWS,
        height=360,
    )
