"""Panels of the page ``operators``: choice of the regularisation, and amount of training data."""

from typing import Any, Literal

import altair as alt
import polars as pl

from dashboards.ui.charts import CATEGORIES, coloured, method_colours, number, numbered, with_intervals
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

HEIGHT = 300
"""Height of a chart, in pixels."""


REGULARISATION = """select c.alpha, c.l1_ratio, c.fold, c.r2, avg(c.r2) over (partition by c.alpha, c.l1_ratio) as mean_r2,
    count(*) over (partition by c.alpha, c.l1_ratio) as n_folds,
    coalesce(c.alpha = o.alpha and c.l1_ratio is not distinct from o.l1_ratio, false) as chosen
from operator_cv as c inner join operators as o using (collection, operator)
where collection = $collection and operator = $operator
order by c.l1_ratio, c.alpha, c.fold"""


def regularisation(**chosen: object) -> None:
    """Cross-validation: held-out r2 of each alpha and fold."""
    panel(
        "Regularisation (alpha)",
        filled(REGULARISATION, **chosen),
        _regularisation,
        empty="This operator has no regularisation, or was not cross-validated.",
        note="Held-out r2 of the residual, averaged over dimensions, for each alpha. Points are folds of the train "
        "documents, the line is their mean, the dashed rule marks the chosen alpha.",
    )


def _regularisation(rows: pl.DataFrame) -> None:
    kind: Literal["symlog", "log"] = "symlog" if (rows["alpha"] == 0).any() else "log"
    x = alt.X("alpha:Q", title="alpha", scale=alt.Scale(type=kind), axis=alt.Axis(format="~g", tickCount=6))
    y = alt.Scale(zero=False)
    colour: Any = alt.ColorValue(CATEGORIES[0])
    if rows["l1_ratio"].drop_nulls().n_unique() > 1:
        colour = numbered("l1_ratio", "L1 ratio", rows["l1_ratio"].n_unique())
    base = alt.Chart(rows).encode(
        x=x,
        color=colour,
        tooltip=[
            number("alpha", "alpha", "~g"),
            number("l1_ratio", "L1 ratio", "~g"),
            number("fold", "fold", "d"),
            number("r2", "held-out r2", ".4f"),
            number("mean_r2", "mean of folds", ".4f"),
            number("n_folds", "folds", "d"),
        ],
    )
    chart = alt.layer(
        base.mark_line().encode(y=alt.Y("mean_r2:Q", title="held-out r2", scale=y)),
        base.mark_point(size=30).encode(y=alt.Y("r2:Q", title="held-out r2", scale=y)),
        alt.Chart(rows).transform_filter("datum.chosen").mark_rule(strokeDash=[4, 4], color="#808080").encode(x=x),
    )
    draw_chart(chart.properties(height=HEIGHT), alt="Held-out r2 of each fold against alpha")


SCALING = """select method, fraction, fraction_asked, n_train, n_train_documents, alpha, r2, r2_low, r2_high, n_test,
    n_test_documents, share_of_full_r2
from scaling_curves
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer
    and position_policy = $position_policy
order by method, fraction_asked"""


def scaling(**chosen: object) -> None:
    """Test r2 against the amount of training data."""
    panel(
        "Amount of data",
        filled(SCALING, **chosen),
        _scaling,
        empty="No scaling curve for this pair: run `ato run evaluate`.",
        note="r2 of the residual on the same test tokens, fitted on a share of the train documents, which are taken whole; "
        "95 % intervals by document. A score still rising at the last fraction: more data would help.",
    )


def _scaling(rows: pl.DataFrame) -> None:
    colours = method_colours(rows["method"].unique(maintain_order=True).to_list())
    chart = with_intervals(
        rows,
        x=alt.X("n_train:Q", title="train tokens", scale=alt.Scale(type="log", nice=False, padding=14)),
        y="r2",
        y_title="r2 on test tokens",
        colour=coloured("method", colours, "method").legend(orient="top"),
        tooltip=[
            alt.Tooltip("method:N"),
            number("fraction", "share of train tokens", ".1%"),
            number("fraction_asked", "share asked for", ".0%"),
            number("n_train", "train tokens", ",d"),
            number("n_train_documents", "train documents", ",d"),
            number("r2", "r2"),
            number("r2_low", "95 % low"),
            number("r2_high", "95 % high"),
            number("alpha", "alpha", "~g"),
            number("n_test", "test tokens", ",d"),
            number("n_test_documents", "test documents", ",d"),
        ],
    )
    draw_chart(chart.properties(height=HEIGHT), alt="r2 against the number of train tokens")
