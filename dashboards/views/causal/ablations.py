"""Panel of the page ``causal``: ablating or transporting single features."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

FEATURES = 200
"""Rows of the table."""


ABLATIONS = """select
    feature_id, any_value(delta_log_ppl) filter (where intervention = 'feature_zero') as zeroed,
    any_value(delta_log_ppl_low) filter (where intervention = 'feature_zero') as zeroed_low,
    any_value(delta_log_ppl_high) filter (where intervention = 'feature_zero') as zeroed_high,
    any_value(delta_log_ppl) filter (where intervention = 'feature_transport') as transported,
    any_value(delta_log_ppl_low) filter (where intervention = 'feature_transport') as transported_low,
    any_value(delta_log_ppl_high) filter (where intervention = 'feature_transport') as transported_high,
    min(n_sequences) as n_sequences, min(n_documents) as n_documents,
    (
        -- The tables of effects do not say which SAE: it is known where the layer has only one.
        select case when count(*) = 1 then min(sae) end from saes where collection = $collection and layer = $target_layer
    ) as sae
from causal_summary
where collection = $collection and source_layer = $source_layer and target_layer = $target_layer and method = $method
    and feature_id is not null
group by feature_id
order by zeroed desc nulls last, feature_id
limit $features"""


def ablations(pair: dict[str, object]) -> None:
    """Added loss when one feature of the target's SAE is ablated, and when it is transported instead."""
    panel(
        "Single features",
        filled(ABLATIONS, **pair, features=FEATURES),
        partial(_ablations, pair),
        note="Added loss (nats per token) with 95 % intervals where a feature is active: the feature is ablated "
        "(zeroed), or replaced by its transported value. A feature that matters and is transported costs much zeroed "
        f"and little transported. At most {FEATURES} features, most costly first. Tick a row to open the feature.",
        empty="No single-feature results: run `ato run causal --set causal.n_features=2`.",
    )


def _ablations(pair: dict[str, object], rows: pl.DataFrame) -> None:
    loss = partial(st.column_config.NumberColumn, format="%.4f")
    config = {
        "feature_id": "feature",
        "n_sequences": "sequences",
        "n_documents": "documents",
    } | {
        f"{kind}{end}": loss(f"{name}{title}")
        for kind, name in (("zeroed", "zeroed"), ("transported", "transported"))
        for end, title in (("", ""), ("_low", ", from"), ("_high", ", to"))
    }
    clicked = st.dataframe(
        rows.drop("sae"),
        hide_index=True,
        column_config=config,
        on_select="rerun",
        selection_mode="single-row",
        key="ablated features",
        placeholder="–",
    )
    if clicked["selection"]["rows"]:
        found = rows.row(clicked["selection"]["rows"][0], named=True)
        go("features", sae=found["sae"], feature_id=found["feature_id"])
