"""Panels of the page ``transport``: verdicts and spread of r2 over the features."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import VERDICT_MEANINGS, VERDICTS, number, numbered, verdict_colours
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

LABELLED = 24
"""Number of bars up to which each shows its target layer."""

LOWEST = -2.0
"""Lower quantiles of r2 are drawn at this value."""

NOT_EVALUATED = "No features evaluated for this choice: run `ato run evaluate` (target layers need an SAE)."


def verdicts(sql: str) -> None:
    """Shares of the verdicts by leap, one bar per pair; ``sql`` is the statement of the map."""
    panel(
        "Verdicts by leap",
        sql,
        _verdicts,
        note=f"Of all scored features, one bar per target layer, labelled above it. {VERDICT_MEANINGS}",
    )


def _verdicts(rows: pl.DataFrame) -> None:
    judged = rows.filter(pl.col("n_features_scored") > 0)
    if judged.is_empty():
        st.info(NOT_EVALUATED)
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
        color=verdict_colours(),
        order=alt.Order("place:Q"),
        tooltip=[
            alt.Tooltip("verdict:N"),
            number("share", "share", ".1%"),
            number("source_layer", "source layer", "d"),
            number("target_layer", "target layer", "d"),
            number("n_features_scored", "features scored", ",d"),
            alt.Tooltip("sae:N"),
        ],
    )
    layers = [bars]
    if judged.height <= LABELLED:
        head = alt.Chart(judged).mark_text(dy=-7, fontSize=11, color="#808080")
        layers.append(head.encode(**place, y=alt.YDatum(1), text=alt.Text("target_layer:N")))
    draw_chart(alt.layer(*layers).properties(height=300), alt="Shares of the verdicts by leap and target layer")


SPREAD = """select target_layer, leap, source_layer, operator, sae, n_features, mean_r2, r2_q05, r2_q25, r2_q50, r2_q75, r2_q95
from feature_depth
where collection = $collection and method = $method and position_policy = $position_policy and features = $features
    and coalesce(sae = $sae or target_layer <> $sae_layer, true)
qualify row_number() over (partition by target_layer, leap order by sae_trusted desc, sae) = 1
order by target_layer, leap"""


def distribution(features: str, **chosen: object) -> None:
    """Quantiles of the features' r2 at each leap, for the features, operators and SAEs of the map."""
    panel(
        "Spread of r2 by leap",
        filled(SPREAD, **chosen, features=features),
        _spread,
        empty=NOT_EVALUATED,
        note="Over the scored features: thin line 5 to 95 %, thick line 25 to 75 %, dot median. Selected features have "
        "the best quality scores (`ato run features`). The axis is clipped at -2; hover for the values.",
    )


def _spread(rows: pl.DataFrame) -> None:
    base = alt.Chart(rows).encode(
        x=alt.X("leap:O", title="leap (layers)", axis=alt.Axis(labelAngle=0)),
        xOffset=alt.XOffset("target_layer:O"),
        color=numbered("target_layer", "target layer", rows["target_layer"].n_unique()),
        tooltip=[
            number("source_layer", "source layer", "d"),
            number("target_layer", "target layer", "d"),
            *[number(f"r2_q{q:02d}", f"{q} % quantile") for q in (5, 25, 50, 75, 95)],
            number("mean_r2", "mean"),
            number("n_features", "features scored", ",d"),
            alt.Tooltip("sae:N"),
        ],
    )
    least = min([0.0, *rows["r2_q05"]])
    scale = alt.Scale(domain=[max(LOWEST, least), 1], clamp=True, nice=False)
    vertical = {q: alt.Y(f"r2_q{q:02d}:Q", title="r2 of features", scale=scale) for q in (5, 25, 50)}
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(y=vertical[5], y2=alt.Y2("r2_q95:Q")),
        base.mark_bar(size=7, opacity=0.55).encode(y=vertical[25], y2=alt.Y2("r2_q75:Q")),
        base.mark_point(filled=True, size=50, opacity=1).encode(y=vertical[50]),
    )
    draw_chart(chart.properties(height=300), alt="Quantiles of the features' r2 by leap and target layer")
