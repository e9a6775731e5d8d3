"""Charts of the published site: Vega-Lite of the rows named ``rows``, in the dashboard's colours."""

from typing import Any

import altair as alt

from dashboards.ui.charts import CATEGORIES, number

ROWS = alt.NamedData(name="rows")


def specification(chart: alt.Chart | alt.LayerChart, height: int | None = 280) -> dict[str, Any]:
    """Vega-Lite without data, as wide as its place."""
    sized = (
        chart.properties(width="container") if height is None else chart.properties(width="container", height=height)
    )
    found: dict[str, Any] = sized.to_dict()
    return {name: value for name, value in found.items() if name not in ("config", "$schema")}


def lines(x: str, y: str, *, x_title: str, y_title: str, by: str, by_title: str, tooltip: list[Any]) -> dict[str, Any]:
    """Points joined by lines with the intervals ``{y}_low`` to ``{y}_high``, a colour for each value of ``by``."""
    scale = alt.Scale(zero=False, nice=False, padding=14)
    base = alt.Chart(ROWS).encode(
        x=alt.X(f"{x}:Q", title=x_title, scale=scale, axis=alt.Axis(tickMinStep=1, format="d")),
        color=alt.Color(f"{by}:N", title=by_title, scale=alt.Scale(range=list(CATEGORIES)), legend=_legend()),
        tooltip=tooltip,
    )
    vertical = alt.Y(f"{y}:Q", title=y_title, scale=alt.Scale(zero=False))
    return specification(
        alt.layer(
            base.mark_rule(strokeWidth=1.5, opacity=0.7).encode(
                y=alt.Y(f"{y}_low:Q", title=y_title, scale=alt.Scale(zero=False)), y2=f"{y}_high:Q"
            ),
            base.mark_line().encode(y=vertical),
            base.mark_point(filled=True, size=45, opacity=1).encode(y=vertical),
        )
    )


def intervals(
    x: str,
    name: str,
    *,
    x_title: str,
    tooltip: list[Any],
    colour: Any = CATEGORIES[0],
    scale: Any = None,
    axis: Any = None,
) -> dict[str, Any]:
    """A line for each row with its point and interval ``{x}_low`` to ``{x}_high``, in the order of the rows."""
    scale = alt.Scale(zero=False) if scale is None else scale
    encoded: dict[str, Any] = {"y": alt.Y(f"{name}:N", title=None, sort=None, axis=alt.Axis(labelLimit=200))}
    encoded["color"] = alt.value(colour) if isinstance(colour, str) else colour
    base = alt.Chart(ROWS).encode(**encoded, tooltip=tooltip)
    across = {"title": x_title, "scale": scale} | ({} if axis is None else {"axis": axis})
    chart = alt.layer(
        base.mark_rule(strokeWidth=2).encode(x=alt.X(f"{x}_low:Q", **across), x2=f"{x}_high:Q"),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=alt.X(f"{x}:Q", **across)),
    )
    return specification(chart.properties(height=alt.Step(28)), height=None)


def estimate(name: str, title: str, format: str = ".3f") -> list[alt.Tooltip]:
    """A number with its interval, in the tooltip."""
    ends = (("", title), ("_low", "95 % from"), ("_high", "to"))
    return [number(f"{name}{end}", label, format) for end, label in ends]


def _legend() -> alt.Legend:
    return alt.Legend(orient="top", columns=4)
