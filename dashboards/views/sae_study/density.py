"""Panels of the page ``sae_study``: how many features fire how often, in the end and over training."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from ato.evaluation.map_colours import ANCHORS
from dashboards.ui.charts import number, rates_histogram
from dashboards.ui.declared import ROWS, Panel
from dashboards.ui.declared_panel import draw_panel, draw_rows
from dashboards.views.sae_study.about import NOT_LOOKED_AT, NOT_MEASURED

DENSITY = """select
    bin, log10_rate_low, log10_rate_high, 10 ** log10_rate_low as rate_from, 10 ** log10_rate_high as rate_to, n_features,
    sum(n_features) filter (where log10_rate_low is null) over () as n_never,
    sum(n_features) over () as n_all
from sae_density
where collection = $collection and sae = $sae
order by bin"""

OVER_TRAINING = """select
    d.step, t.tokens, d.bin, d.log10_rate_low,
    if(d.log10_rate_low is null, 'never', format('{:.2g}', 10 ** d.log10_rate_low)) as rate_from,
    d.n_features, d.n_features / sum(d.n_features) over (partition by d.step) as share
from sae_snapshot_density as d
left join sae_snapshots as t using (collection, sae, step)
where d.collection = $collection and d.sae = $sae
order by d.step, d.bin"""


def density(about: dict[str, Any]) -> None:
    """Histogram of the activation rates of the chosen SAE's features."""
    draw_panel(RATES_OF_SAE, _density, **about)


def _density(rows: pl.DataFrame) -> None:
    fire = rows.filter(pl.col("log10_rate_low").is_not_null())
    if fire.is_empty():
        st.info("No feature of this SAE fires.")
    else:
        draw_rows(RATES_OF_SAE, fire)
    whole = rows.row(0, named=True)
    st.caption(f"{whole['n_never'] or 0:,} of {whole['n_all']:,} features never fire.")


def density_over_training(about: dict[str, Any]) -> None:
    """The same at every snapshot, as a heat map."""
    draw_panel(RATES_OVER_TRAINING, **about)


def _over_training() -> alt.Chart:
    order = alt.EncodingSortField("bin", op="max", order="descending")
    cells = (
        alt.Chart(ROWS)
        .mark_rect()
        .encode(
            x=alt.X("step:O", title="step", axis=alt.Axis(labelAngle=0)),
            y=alt.Y("rate_from:N", title="activation rate from", sort=order),
            color=alt.Color(
                "share:Q",
                title="share",
                scale=alt.Scale(range=list(ANCHORS), interpolate="rgb"),
                legend=alt.Legend(format="%"),
            ),
            tooltip=[
                number("step", "step", ",d"),
                number("tokens", "tokens", ",d"),
                alt.Tooltip("rate_from:N", title="activation rate from"),
                number("n_features", "features", ",d"),
                number("share", "share", ".1%"),
            ],
        )
    )
    return cells.properties(height=330)


RATES_OF_SAE = Panel(
    "Activation rates of the SAE",
    DENSITY,
    note="Features by share of held-out tokens on which they fire, bins in log10. Features that never fire "
    "cannot be drawn on a log axis.",
    empty=NOT_MEASURED,
    view="chart",
    chart=rates_histogram(ROWS),
    alt="Number of features of the SAE by activation rate",
    wide=False,
)

RATES_OVER_TRAINING = Panel(
    "Activation rates over training",
    OVER_TRAINING,
    note="A column is a snapshot, a cell the share of all features in that bin of rates; the lowest row holds features "
    "that never fire.",
    empty=NOT_LOOKED_AT,
    view="chart",
    chart=_over_training(),
    alt="Share of features by activation rate at each snapshot of training",
    wide=False,
)
