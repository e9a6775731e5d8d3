"""The theme of all charts, over Streamlit's: what stays readable on a phone and in the dark."""

from typing import Any

import altair as alt

GREY = "#888888"
"""Visible on white and on black."""
UNMOVED: dict[str, Any] = {"labelFlush": False, "labelBound": False}
"""Of labels of categories: Vega would move the first and the last into the chart, beside no mark."""


WHOLE: dict[str, Any] = {"tickMinStep": 1, "format": "d", "tickCount": {"expr": "min(12, ceil(width / 45))"}}
"""Of a horizontal axis of small whole numbers, such as layers: more labels than those of other numbers have room."""
_widths: dict[str, int] = {}
"""Expression of ``fitting_columns`` -> the width that it was asked for."""


def fitting_columns(width: int) -> dict[str, str]:
    """How many columns of a width in pixels a legend above or below a chart has room for, as Vega works it out."""
    expression = f"max(1, floor(width / {width}))"
    _widths[expression] = width
    return {"expr": expression}


def fitted_width(columns: object) -> int | None:
    """The width that ``fitting_columns`` was asked for, of what it gave; None of anything else."""
    return _widths.get(columns.get("expr", "")) if isinstance(columns, dict) else None


@alt.theme.register("ato", enable=True)
def ato() -> alt.theme.ThemeConfig:
    """Labels of categories beside their marks, numbers with room; legends in full colour, one below the other, as many columns as fit."""
    config: Any = {  # Altair types neither expressions nor all of the axes
        "axisXBand": UNMOVED,
        "axisYBand": UNMOVED | {"labelBaseline": "middle"},
        "axisYQuantitative": {"labelFlush": False},  # Streamlit moves the labels of both ends from their lines
        "axisXQuantitative": {"tickCount": {"expr": "max(3, ceil(width / 100))"}},
        "legend": {
            "orient": "top",
            "symbolOpacity": 1,
            "symbolBaseFillColor": GREY,
            "symbolBaseStrokeColor": GREY,
            "layout": {place: {"anchor": "start", "direction": "vertical"} for place in ("top", "bottom")},
            "columns": fitting_columns(130),
        },
    }
    return alt.theme.ThemeConfig(config=config)
