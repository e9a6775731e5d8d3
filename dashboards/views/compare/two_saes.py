"""Panels of two SAEs."""

import altair as alt

from dashboards.ui.charts import number
from dashboards.ui.declared import Column
from dashboards.views.compare.sided import differences, histograms, shown
from warehouse.catalog.compared import saes


def _density() -> alt.Chart:
    x = alt.X(
        "rate_from:Q",
        title="activation rate (share of tokens)",
        scale=alt.Scale(type="log"),
        axis=alt.Axis(format="~g", grid=False),
    )
    tooltip = [
        number("rate_from", "from", ".3~g"),
        number("rate_to", "to", ".3~g"),
        number("share", "share", ".2%"),
        number("n_features", "features", ",d"),
        number("n_all", "of", ",d"),
    ]
    return histograms(x, "rate_to", "share of features", tooltip)


PANELS = (
    differences(saes.DIFFERENCES),
    shown(
        saes.DENSITY,
        chart=_density(),
        alt="Histograms: share of the features of both SAEs by activation rate",
    ),
    shown(
        saes.AGREEMENT,
        columns=(
            Column("match", "match"),
            Column("n_pairs", "pairs", "integer"),
            Column("mean_cosine", "mean cosine"),
            Column("share_same", "at least 0.9", "percent"),
            Column("by_chance", "by chance"),
        ),
    ),
    shown(
        saes.MATCHES,
        columns=(
            Column("left_feature", "left feature"),
            Column("right_feature", "right feature"),
            Column("decoder_cosine", "decoder cosine"),
            Column("by_chance", "by chance"),
            Column("left_promotes", "left promotes", "list"),
            Column("right_promotes", "right promotes", "list"),
        ),
    ),
)
