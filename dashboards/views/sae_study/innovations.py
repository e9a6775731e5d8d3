"""Panel of the page ``sae_study``: innovation SAEs beside plain ones, alone and with several layers replaced at once."""

from functools import partial

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.declared import Column, Panel, interval
from dashboards.ui.declared_panel import draw_panel, draw_table
from dashboards.ui.drawing import draw_chart
from dashboards.ui.reading import ask, filled

INNOVATIONS = """select
    metric, scope, layers, architecture, k, seed, d_sae, plain_d_sae, innovation, innovation_low, innovation_high, plain, plain_low,
    plain_high, difference, difference_low, difference_high, baseline, n, l0, plain_l0, n_parameters, plain_n_parameters,
    list_aggregate(layers, 'string_agg', ', ') || '; k = ' || k || ', seed ' || seed || '; '
        || if(at_equal_parameters, 'equal parameters', plain_d_sae || ' plain features') as line
from innovation_overview
where collection = $collection
order by metric, n_layers, layer, k, seed, plain_d_sae, scope"""
ANY = "select 1 as one from innovation_overview where collection = $collection limit 1"
SIDES = {"innovation": "#0072B2", "plain": "#E69F00", "T x + b alone": "#6B7078"}


def innovations(collection: str) -> None:
    """Loss recovered of both, and every metric in a table; nothing where no study has innovation SAEs."""
    if ask(filled(ANY, collection=collection)).is_empty():
        return
    draw_panel(INNOVATION_AND_PLAIN, _innovations, collection=collection)


def _innovations(rows: pl.DataFrame) -> None:
    recovered = rows.filter(pl.col("metric") == "ce_recovered", pl.col("difference").is_not_null())
    if recovered.is_empty():
        st.info("Zeroing these layers does not raise the loss.")
    else:
        _recovered(recovered)
    draw_table(INNOVATION_AND_PLAIN, rows)


def _recovered(rows: pl.DataFrame) -> None:
    both = pl.concat(
        rows.select(
            "line",
            "n",
            pl.lit(side).alias("side"),
            pl.col(name).alias("value"),
            *(
                pl.col(f"{name}_{end}").alias(end)
                if f"{name}_{end}" in rows.columns
                else pl.lit(None, pl.Float64).alias(end)
                for end in ("low", "high")
            ),
        )
        for side, name in zip(SIDES, ("innovation", "plain", "baseline"), strict=True)
    )
    base = alt.Chart(both).encode(
        y=alt.Y("line:N", title=None, sort=rows["line"].unique(maintain_order=True).to_list()),
        yOffset=alt.YOffset("side:N", sort=list(SIDES)),
        color=alt.Color("side:N", title=None, scale=alt.Scale(domain=list(SIDES), range=list(SIDES.values()))),
        tooltip=[
            alt.Tooltip("side:N"),
            alt.Tooltip("line:N"),
            number("value", "loss recovered"),
            number("low", "95 % from"),
            number("high", "to"),
            number("n", "documents", "d"),
        ],
    )
    x = partial(alt.X, title="loss recovered", scale=alt.Scale(zero=False, padding=10))
    chart = alt.layer(
        base.mark_rule(strokeWidth=1.5).encode(x=x("low:Q"), x2=alt.X2("high:Q")),
        base.mark_point(filled=True, size=60, opacity=1).encode(x=x("value:Q")),
    )
    draw_chart(chart.properties(height=alt.Step(14)), alt="Loss recovered by innovation SAEs and by plain ones")


INNOVATION_AND_PLAIN = Panel(
    "Innovation against plain",
    INNOVATIONS,
    note="Innovation SAEs rebuild y as T x + b and what they decode of the rest. Of one layer, x is the model's own; in a "
    "chain all layers are replaced at once, the first by the same plain SAE in both, and x is what took its place. "
    "Chart: loss recovered with 95 % intervals by document. Difference: innovation minus plain, paired by document (of the "
    "layer cosine: Welch's, by feature). Baseline: T x + b without features; of the layer cosine random directions in place of "
    "the layer before. L0 and parameters are sums over the layers; T and b count.",
    empty="No study has innovation SAEs.",
    columns=(
        Column("scope", "scope"),
        Column("metric", "metric"),
        Column("layers", "layers", "list"),
        Column("architecture", "architecture"),
        Column("k", "k"),
        Column("seed", "seed"),
        *interval("innovation", "innovation"),
        *interval("plain", "plain"),
        *interval("difference", "difference"),
        Column("baseline", "baseline"),
        Column("n", "n", "integer"),
        Column("d_sae", "features", "integer"),
        Column("plain_d_sae", "features, plain", "integer"),
        Column("l0", "L0"),
        Column("plain_l0", "L0, plain"),
        Column("n_parameters", "parameters", "integer"),
        Column("plain_n_parameters", "parameters, plain", "integer"),
    ),
)
