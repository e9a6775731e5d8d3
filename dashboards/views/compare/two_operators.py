"""Panels of two operators."""

import altair as alt

from dashboards.ui.charts import number
from dashboards.views.compare.sided import curves, curves_with_intervals, differences, scatter, shown
from warehouse.catalog.compared import operators


def _features() -> alt.LayerChart | alt.FacetChart:
    tooltip = [
        number("feature_id", "feature", "d"),
        number("left_r2", "r2 left"),
        number("left_r2_low", "95 % from"),
        number("left_r2_high", "to"),
        number("right_r2", "r2 right"),
        number("right_r2_low", "95 % from "),
        number("right_r2_high", "to "),
        number("difference", "right less left"),
        number("left_n_active", "active tokens", ",d"),
        alt.Tooltip("sae:N"),
        number("n_features", "of so many shared features", ",d"),
    ]
    return scatter("left_drawn", "right_drawn", "r2", tooltip)


def _spectra() -> alt.LayerChart | alt.FacetChart:
    scale, axis = alt.Scale(type="log", nice=False), alt.Axis(format="d", tickCount=6)
    tooltip = [
        number("mode", "mode", "d"),
        number("singular_value", "singular value", ".4~g"),
        number("n_modes", "modes", ",d"),
    ]
    x = alt.X("mode:Q", title="mode", scale=scale, axis=axis)
    layers = curves(x, "singular_value", "singular value", tooltip, scale=alt.Scale(type="log"))
    return alt.layer(*layers, height=300)


def _efficiency() -> alt.LayerChart | alt.FacetChart:
    scale = alt.Scale(type="log", base=2, nice=False, padding=10)
    tooltip = [
        number("rank", "rank", "d"),
        number("efficiency", "efficiency"),
        number("efficiency_low", "95 % from"),
        number("efficiency_high", "to"),
        number("ceiling_held_out", "ceiling, held out"),
        number("n_test", "test tokens", ",d"),
    ]
    x = alt.X("rank:Q", title="rank", scale=scale, axis=alt.Axis(format="d"))
    return alt.layer(*curves_with_intervals(x, "drawn", "transport efficiency", tooltip), height=300)


PANELS = (
    differences(operators.DIFFERENCES),
    shown(operators.FEATURES, chart=_features(), alt="r2 of shared features: left against right"),
    shown(operators.SPECTRA, chart=_spectra(), alt="Singular values of both operators by mode"),
    shown(operators.EFFICIENCY, chart=_efficiency(), alt="Transport efficiency of both layer pairs by rank"),
)
