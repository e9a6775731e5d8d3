"""Charts that several pages of the published site have, of the rows of their statements, in the dashboard's colours."""

from typing import Any

import altair as alt

from dashboards.ui.chart_theme import WHOLE, fitting_columns
from dashboards.ui.charts import CATEGORIES, number
from dashboards.ui.declared import ROWS


def lines(
    x: str,
    y: str,
    *,
    x_title: str,
    y_title: str,
    by: str,
    by_title: str | None,
    tooltip: list[alt.Tooltip],
    colours: dict[str, str] | None = None,
    name_width: int = 130,
) -> alt.LayerChart | alt.FacetChart:
    """Points joined by lines with the intervals ``{y}_low`` to ``{y}_high``, a colour for each value of ``by``.

    Args:
        x: column of whole numbers.
        y: column.
        x_title: name and unit.
        y_title: name and unit.
        by: column.
        by_title: title of the legend.
        tooltip: fields shown on hover.
        colours: of values of ``by``; default: the palette.
        name_width: room for a value in the legend, in pixels.
    """
    palette = alt.Scale(range=list(CATEGORIES))
    named = palette if colours is None else alt.Scale(domain=list(colours), range=list(colours.values()))
    across = alt.Scale(zero=False, nice=False, padding=14)
    base = alt.Chart(ROWS).encode(
        x=alt.X(f"{x}:Q", title=x_title, scale=across, axis=WHOLE),
        color=alt.Color(f"{by}:N", title=by_title, scale=named, legend=alt.Legend(columns=fitting_columns(name_width))),
        tooltip=tooltip,
    )
    low, value = (alt.Y(f"{y}{end}:Q", title=y_title, scale=alt.Scale(zero=False)) for end in ("_low", ""))
    return alt.layer(
        base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(y=low, y2=alt.Y2(f"{y}_high:Q")),
        base.mark_line().encode(y=value),
        base.mark_point(filled=True, size=45, opacity=1).encode(y=value),
    )


def intervals(
    x: str, name: str, *, tooltip: list[alt.Tooltip], colour: alt.Color | None = None, **across: Any
) -> alt.LayerChart | alt.FacetChart:
    """A line for each row with its point and interval ``{x}_low`` to ``{x}_high``, in the order of the rows.

    Args:
        x: column.
        name: column of the rows' names.
        tooltip: fields shown on hover.
        colour: default: one.
        across: of the horizontal axis: title, scale, axis.
    """
    base = alt.Chart(ROWS).encode(
        y=alt.Y(f"{name}:N", title=None, sort=None, axis=alt.Axis(labelLimit=200)),
        color=alt.ColorValue(CATEGORIES[0]) if colour is None else colour,
        tooltip=tooltip,
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=alt.X(f"{x}_low:Q", **across), x2=alt.X2(f"{x}_high:Q")),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X(f"{x}:Q", **across)),
    )
    return chart.properties(height=alt.Step(28))


def estimate(name: str, title: str, format: str = ".3f") -> list[alt.Tooltip]:
    """A number with its interval, in the tooltip."""
    ends = (("", title), ("_low", "95 % from"), ("_high", "to"))
    return [number(f"{name}{end}", label, format) for end, label in ends]
