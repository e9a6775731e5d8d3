"""The logit lens of one feature: which words its decoder row promotes and suppresses."""

from typing import Any

import altair as alt
import polars as pl
import streamlit as st

from dashboards.pages.features.measures import SCORES
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

COLOURS = {"promoted": "#0072B2", "suppressed": "#E69F00"}


def words(about: dict[str, Any]) -> None:
    """Bars of the words with the largest and the least logits."""
    panel(
        "Logit lens",
        filled(WORDS, **about),
        _words,
        note="Logit of each token when the decoder row is read by the unembedding; `·` is a space, `↵` a line break.",
        empty="The words are not known yet: `ato run features` reads them off.",
    )


def _words(rows: pl.DataFrame) -> None:
    for direction, colour in COLOURS.items():
        shown = rows.filter(rows["direction"] == direction)
        base = alt.Chart(shown).encode(
            x=alt.X("logit:Q", title=f"logit, {direction}"),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=160, labelOverlap=False)),
            tooltip=[alt.Tooltip("token:N", title="token"), alt.Tooltip("logit:Q", format=".3f")],
        )
        if not shown.is_empty():
            chart = base.mark_bar(color=colour).properties(height=30 + 18 * shown.height)
            st.altair_chart(chart, alt=f"Bars: logits of the tokens that are {direction}")


WORDS = f"""with {SCORES},

lens as (
    select 'promoted' as direction, unnest(top_tokens) as token, unnest(top_logits) as logit, generate_subscripts(top_tokens, 1) as place
    from scores
    where feature_id = $feature_id
    union all
    select 'suppressed', unnest(bottom_tokens), unnest(bottom_logits), generate_subscripts(bottom_tokens, 1)
    from scores
    where feature_id = $feature_id
)

select direction, place, place || '. ' || replace(replace(token, ' ', '·'), chr(10), '↵') as label, token, logit
from lens
where token is not null
order by direction, place"""
