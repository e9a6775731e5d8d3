"""The theme of all charts, over Streamlit's: what stays readable on a phone and in the dark."""

from typing import Any

import altair as alt

GREY = "#888888"
"""Visible on white and on black."""
UNMOVED: dict[str, Any] = {"labelFlush": False, "labelBound": False}
"""Of labels of categories: Vega would move the first and the last into the chart, beside no mark."""


def fitting_columns(width: int) -> dict[str, str]:
    """How many columns of a width in pixels a legend above or below a chart has room for, as Vega works it out."""
    return {"expr": f"max(1, floor(width / {width}))"}


@alt.theme.register("ato", enable=True)
def ato() -> alt.theme.ThemeConfig:
    """Labels of categories beside their marks, numbers with room; legends in full colour, one below the other, as many columns as fit."""
    config: Any = {  # Altair types neither expressions nor all of the axes
        "axisXBand": UNMOVED,
        "axisYBand": UNMOVED | {"labelBaseline": "middle"},
        "axisYQuantitative": {"labelFlush": False},  # Streamlit moves the labels of both ends from their lines
        "axisXQuantitative": {"tickCount": {"expr": "ceil(width / 100)"}},
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
