"""The features whose activations correlate most with those of one feature."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_SCORES
from dashboards.views.features.search import open_feature

SHOWN_NEIGHBOURS = 50


NEIGHBOURS = f"""with {LATEST_SCORES},

own as (
    select redundant_with, redundancy from scores where feature_id = $feature_id
),

pairs as (
    select redundant_with as feature_id, redundancy as correlation from own where redundant_with is not null
    union
    select feature_id, redundancy from scores where redundant_with = $feature_id
),

final as (
    select feature_id, max(correlation) as correlation from pairs group by feature_id
)

select f.feature_id, f.correlation, s.top_tokens[:5] as promotes, s.score
from final as f
left join scores as s using (feature_id)
order by f.correlation desc nulls last, f.feature_id
limit {SHOWN_NEIGHBOURS}"""


def neighbours(about: dict[str, Any]) -> None:
    """The features whose activations correlate most with this feature's."""
    panel(
        "Similar features",
        filled(NEIGHBOURS, **about),
        partial(_neighbours, sae=about["sae"]),
        note="By |correlation| of activations: the feature most similar to this one, and the features to which this "
        f"one is most similar, at most {SHOWN_NEIGHBOURS}. Tick a row to open it.",
        empty="No similar features found. Run `ato run features` to measure correlations.",
    )


def _neighbours(rows: pl.DataFrame, sae: str) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        key="neighbours",
        selection_mode="single-row",
        on_select=partial(_open, rows, sae),
        placeholder="not scored",
        column_config={
            "feature_id": st.column_config.NumberColumn("feature", format="%d"),
            "correlation": st.column_config.NumberColumn("|correlation|", format="%.3f"),
            "promotes": st.column_config.ListColumn("promotes"),
            "score": st.column_config.NumberColumn("score", format="%.3f", width=90),
        },
    )


def _open(rows: pl.DataFrame, sae: str) -> None:
    for place in st.session_state["neighbours"]["selection"]["rows"]:
        open_feature(sae, rows["feature_id"][place])
