"""Panels of two features."""

import altair as alt

from dashboards.ui.charts import number
from dashboards.ui.declared import ROWS, Column, Link, interval
from dashboards.views.compare.sided import (
    COLOURS,
    curves_with_intervals,
    differences,
    histograms,
    shown,
    side_colour,
)
from warehouse.catalog.compared import features


def _transport() -> alt.LayerChart | alt.FacetChart:
    x = alt.X(
        "source_layer:Q",
        title="source layer",
        axis=alt.Axis(tickMinStep=1, format="d"),
        scale=alt.Scale(zero=False, padding=14),
    )
    tooltip = [
        number("source_layer", "from layer", "d"),
        number("target_layer", "to layer", "d"),
        number("r2", "r2"),
        number("r2_low", "95 % from"),
        number("r2_high", "to"),
        number("ceiling", "ceiling"),
        number("n_active", "active test tokens", ",d"),
    ]
    title = "r2 on active tokens"
    dashed = alt.Chart(ROWS).mark_line(strokeDash=[5, 3], opacity=0.7)
    ceiling = dashed.encode(x=x, y=alt.Y("drawn_ceiling:Q", title=title), color=side_colour())
    return alt.layer(ceiling, *curves_with_intervals(x, "drawn", title, tooltip), height=300)


def _activations() -> alt.Chart:
    x = alt.X(
        "low:Q",
        title="activation",
        scale=alt.Scale(type="log", nice=False),
        axis=alt.Axis(format="~g", grid=False),
    )
    tooltip = [
        number("low", "from", ".3~g"),
        number("high", "to", ".3~g"),
        number("share", "share", ".1%"),
        number("n", "tokens", ",d"),
        number("n_active", "active tokens", ",d"),
    ]
    return histograms(x, "high", "share of active tokens", tooltip, height=260)


def _logits() -> alt.LayerChart | alt.FacetChart:
    """Bars over an axis from ``lowest`` to ``highest``, which are those of both sides."""
    y = alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=150, labelOverlap=False))
    ends = [alt.X(f"{name}:Q", title="logit", scale=alt.Scale(nice=False)) for name in ("lowest", "highest", "logit")]
    base = alt.Chart(ROWS).encode(y=y)
    bars = base.mark_bar().encode(
        x=ends[2],
        color=side_colour().legend(None),
        tooltip=[alt.Tooltip("token:N", title="token"), alt.Tooltip("direction:N"), number("logit", "logit")],
    )
    unseen = [base.mark_point(opacity=0, size=1).encode(x=end) for end in ends[:2]]
    return alt.layer(bars, *unseen, height=alt.Step(18))


WINDOWS = shown(
    features.WINDOWS,
    view="windows",
    sides=COLOURS,
    link=Link("text", {name: name for name in ("collection", "sequence_id", "sae", "feature_id")}),
)
PANELS = (
    differences(features.DIFFERENCES),
    shown(
        features.TRANSPORT,
        chart=_transport(),
        alt="r2 of both features by source layer, with ceilings",
    ),
    shown(
        features.ACTIVATIONS,
        chart=_activations(),
        alt="Histograms: active tokens of both features by activation",
    ),
    shown(features.LOGIT_LENS, chart=_logits(), alt="Bars: logits of promoted and suppressed tokens", sides=COLOURS),
    WINDOWS,
    shown(
        features.LABELS,
        columns=(
            Column("side", "side"),
            Column("description", "description"),
            Column("source", "by"),
            *interval("detection", "detection"),
            Column("failed", "fails"),
            Column("reason", "why"),
        ),
    ),
    shown(
        features.LINKS,
        columns=(
            Column("link", "what"),
            Column("value", "value"),
            Column("low", "95 % from"),
            Column("high", "to"),
            Column("unit", "unit"),
        ),
    ),
)
