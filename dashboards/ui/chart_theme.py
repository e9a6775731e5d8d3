"""The theme of all charts, over Streamlit's: what stays readable on a phone and in the dark."""

from typing import Any

import altair as alt

LEGEND_COLUMN = 130
"""Width in pixels of a column of a horizontal legend."""
UNMOVED: dict[str, Any] = {"labelFlush": False, "labelBound": False}
"""Of labels of categories: Vega would move the first and the last into the chart, beside no mark."""


@alt.theme.register("ato", enable=True)
def ato() -> alt.theme.ThemeConfig:
    """Labels of categories beside their marks, and legends in full colour whose columns fit the width of the chart."""
    config: dict[str, Any] = {
        "axisXBand": UNMOVED,
        "axisYBand": UNMOVED | {"labelBaseline": "middle"},
        "legend": {
            "orient": "top",
            "symbolOpacity": 1,
            "columns": {"expr": f"max(1, floor(width / {LEGEND_COLUMN}))"},
        },
    }
    return alt.theme.ThemeConfig(config=config)
