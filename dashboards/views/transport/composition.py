"""Panel of the page ``transport``: direct versus composed operators."""

import altair as alt
import polars as pl

from dashboards.ui.charts import coloured, number
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

COMPOSITIONS = """select concat_ws(' → ', source_layer, middle_layer, target_layer) as way, leap, n_test, n_test_documents,
    r2_direct, r2_direct_low, r2_direct_high, r2_composed, r2_composed_low, r2_composed_high,
    r2_lost, r2_lost_low, r2_lost_high
from composition_overview
where collection = $collection and method = $method and position_policy = $position_policy
order by r2_lost desc
limit 40"""


def compositions(**chosen: object) -> None:
    """r2 of direct operators against products of two shorter ones."""
    panel(
        "Direct versus composed operators",
        filled(COMPOSITIONS, **chosen),
        _compositions,
        empty="No composed operators yet: run `ato run evaluate` (compares ridge operators whose two halves are fitted "
        "too).",
        note="Source → middle → target layer. Weighted r2 of the whole residual on test tokens, with 95 % intervals by "
        "document: the direct operator against the product of two shorter ones. The gap is not linearly "
        "represented in the middle layer. The 40 largest losses.",
    )


def _compositions(rows: pl.DataFrame) -> None:
    steps = {"direct": "#0072B2", "composed": "#E69F00"}
    both = alt.Chart(rows).transform_fold(["r2_direct", "r2_composed"], ["part", "r2"])
    named = both.transform_calculate(
        steps="datum.part == 'r2_direct' ? 'direct' : 'composed'",
        low="datum[datum.part + '_low']",
        high="datum[datum.part + '_high']",
    )
    base = named.encode(
        y=alt.Y(
            "way:N",
            title=None,
            sort=rows["way"].to_list(),
            axis=alt.Axis(labelOverlap=False),
        ),
        color=coloured("steps", steps, "").legend(orient="top"),
        tooltip=[
            alt.Tooltip("way:N"),
            alt.Tooltip("steps:N"),
            number("r2", "weighted r2"),
            number("low", "95 % low"),
            number("high", "95 % high"),
            number("r2_lost", "lost by composing"),
            number("r2_lost_low", "lost, 95 % low"),
            number("r2_lost_high", "lost, 95 % high"),
            number("n_test", "test tokens", ",d"),
            number("n_test_documents", "test documents", ",d"),
        ],
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", title="weighted r2"), x2=alt.X2("high:Q")),
        base.mark_point(filled=True, size=45, opacity=1).encode(
            x=alt.X("r2:Q", title="weighted r2", scale=alt.Scale(zero=False))
        ),
    )
    draw_chart(chart.properties(height=alt.Step(24)), alt="r2 of direct and of composed operators")
