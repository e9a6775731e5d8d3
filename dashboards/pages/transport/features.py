"""Panels of page ``transport`` about how features differ: verdicts, the spread of r2, and what two steps lose."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import choose
from dashboards.ui.charts import VERDICTS, coloured, number, numbered
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

LABELLED = 24
"""Bars up to which each says its target layer."""
LOWEST = -2.0
"""Quantiles of r2 below it are drawn there."""
NOT_JUDGED = "No features have been judged for this choice. `ato run evaluate` judges them at targets that have an SAE."


def verdicts(sql: str) -> None:
    """Shares of the verdicts by leap, a bar a pair; drawn from the statement of the map."""
    panel(
        "Verdicts by leap",
        sql,
        _verdicts,
        note="A bar is one target layer, named above it; hovering shows n. "
        "Transported: r2 surely high; synthesised: surely low; undetermined: neither is sure.",
    )


def distribution(**chosen: object) -> None:
    """How the r2 of features spreads at each leap, for the operators and SAEs of the map."""
    features = choose("Features", "features", ["all", "selected"], widget="segmented_control")
    panel(
        "Spread of r2 by leap",
        filled(SPREAD, **chosen, features=features),
        _spread,
        empty=NOT_JUDGED,
        note="Of the scored features: the thin line holds 90 %, the thick one the middle half, the dot is the median. Selected "
        "features are those with the best quality scores (`ato run features`). The axis stops at -2; hovering shows more.",
    )


def compositions(**chosen: object) -> None:
    """What is lost where the way is taken in two steps over a middle layer."""
    panel(
        "In one step or in two",
        filled(COMPOSITIONS, **chosen),
        _compositions,
        empty="No two-step way has been compared for this choice: `ato run evaluate` compares ridge operators whose halves "
        "are fitted too.",
        note="Weighted r2 of the whole residual on test tokens, with 95 % intervals by document: the direct operator against "
        "the product of two shorter ones. What the product lacks, the middle layer does not hold linearly. The 40 ways "
        "that lose most.",
    )


def _verdicts(rows: pl.DataFrame) -> None:
    judged = rows.filter(pl.col("n_features_scored") > 0)
    if judged.is_empty():
        st.info(NOT_JUDGED)
        return
    place = {
        "x": alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        "xOffset": alt.XOffset("target_layer:O"),
    }
    shares = alt.Chart(judged).transform_fold([f"share_{name}" for name in VERDICTS], ["part", "share"])
    named = shares.transform_calculate(
        verdict="substring(datum.part, 6)", place=f"indexof({list(VERDICTS)}, substring(datum.part, 6))"
    )
    axis = alt.Axis(format="%")
    bars = named.mark_bar().encode(
        **place,
        y=alt.Y("share:Q", title="share of scored features", axis=axis, scale=alt.Scale(domain=[0, 1])),
        color=coloured("verdict", VERDICTS, "verdict").legend(orient="top"),
        order="place:Q",
        tooltip=[
            "verdict:N",
            number("share", "share", ".1%"),
            number("source_layer", "source layer", "d"),
            number("target_layer", "target layer", "d"),
            number("n_features_scored", "features scored", ",d"),
            "sae:N",
        ],
    )
    layers = [bars]
    if judged.height <= LABELLED:
        head = alt.Chart(judged).mark_text(dy=-7, fontSize=11, color="#808080")
        layers.append(head.encode(**place, y=alt.datum(1), text="target_layer:N"))
    st.altair_chart(alt.layer(*layers).properties(height=300), alt="Shares of the verdicts by leap and target layer")


def _spread(rows: pl.DataFrame) -> None:
    base = alt.Chart(rows).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("target_layer:O"),
        color=numbered("target_layer", "target layer", rows["target_layer"].n_unique()),
        tooltip=[
            number("source_layer", "source layer", "d"),
            number("target_layer", "target layer", "d"),
            *[number(f"r2_q{q:02d}", f"{q} % are below") for q in (5, 25, 50, 75, 95)],
            number("mean_r2", "mean"),
            number("n_features", "features scored", ",d"),
            "sae:N",
        ],
    )
    least = min([0.0, *rows["r2_q05"]])
    scale = alt.Scale(domain=[max(LOWEST, least), 1], clamp=True, nice=False)
    vertical = {q: alt.Y(f"r2_q{q:02d}:Q", title="r2 of features", scale=scale) for q in (5, 25, 50)}
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=vertical[5], y2="r2_q95:Q"),
        base.mark_bar(size=7, opacity=0.55).encode(y=vertical[25], y2="r2_q75:Q"),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=vertical[50]),
    )
    st.altair_chart(chart.properties(height=300), alt="Quantiles of the features' r2 by leap and target layer")


def _compositions(rows: pl.DataFrame) -> None:
    steps = {"direct": "#0072B2", "two steps": "#E69F00"}
    both = alt.Chart(rows).transform_fold(["r2_direct", "r2_composed"], ["part", "r2"])
    named = both.transform_calculate(
        steps="datum.part == 'r2_direct' ? 'direct' : 'two steps'",
        low="datum[datum.part + '_low']",
        high="datum[datum.part + '_high']",
    )
    base = named.encode(
        y=alt.Y(
            "way:N",
            title="source → middle → target layer",
            sort=rows["way"].to_list(),
            axis=alt.Axis(labelOverlap=False),
        ),
        color=coloured("steps", steps, "").legend(orient="top"),
        tooltip=[
            "way:N",
            "steps:N",
            number("r2", "weighted r2"),
            number("low", "95 % low"),
            number("high", "95 % high"),
            number("r2_lost", "lost by two"),
            number("r2_lost_low", "lost, 95 % low"),
            number("r2_lost_high", "lost, 95 % high"),
            number("n_test", "test tokens", ",d"),
            number("n_test_documents", "test documents", ",d"),
        ],
    )
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=alt.X("low:Q", title="weighted r2"), x2="high:Q"),
        base.mark_point(filled=True, size=45, opacity=1).encode(
            x=alt.X("r2:Q", title="weighted r2", scale=alt.Scale(zero=False))
        ),
    )
    st.altair_chart(chart.properties(height=90 + 20 * rows.height), alt="r2 of direct and of two-step operators")


SPREAD = """select target_layer, leap, source_layer, operator, sae, n_features, mean_r2, r2_q05, r2_q25, r2_q50, r2_q75, r2_q95
from feature_depth
where collection = $collection and method = $method and position_policy = $position_policy and features = $features
    and coalesce(sae = $sae or target_layer <> $sae_layer, true)
qualify row_number() over (partition by target_layer, leap order by sae_trusted desc, sae) = 1
order by target_layer, leap"""
COMPOSITIONS = """select concat_ws(' → ', source_layer, middle_layer, target_layer) as way, leap, n_test, n_test_documents,
    r2_direct, r2_direct_low, r2_direct_high, r2_composed, r2_composed_low, r2_composed_high,
    r2_lost, r2_lost_low, r2_lost_high
from composition_overview
where collection = $collection and method = $method and position_policy = $position_policy
order by r2_lost desc
limit 40"""
