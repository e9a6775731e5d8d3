"""The logit lens of one feature: tokens that its decoder row promotes and suppresses."""

from typing import Any

import altair as alt
import polars as pl

from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.views.features.latest import LATEST_SCORES

COLOURS = {"promoted": "#0072B2", "suppressed": "#E69F00"}


LOGIT_LENS = f"""with {LATEST_SCORES},

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


def logit_lens(about: dict[str, Any]) -> None:
    """The tokens with the largest and smallest logits."""
    panel(
        "Logit lens",
        filled(LOGIT_LENS, **about),
        _logits,
        note="Logit of each token when the unembedding reads the decoder row. `·` is a space, `↵` a line break.",
        empty="No logit lens yet: run `ato run features`.",
    )


def _logits(rows: pl.DataFrame) -> None:
    for direction, colour in COLOURS.items():
        shown = rows.filter(rows["direction"] == direction)
        base = alt.Chart(shown).encode(
            x=alt.X("logit:Q", title=f"logit, {direction}"),
            y=alt.Y("label:N", title=None, sort=None, axis=alt.Axis(labelLimit=160, labelOverlap=False)),
            tooltip=[alt.Tooltip("token:N", title="token"), alt.Tooltip("logit:Q", format=".3f")],
        )
        if not shown.is_empty():
            chart = base.mark_bar(color=colour).properties(height=alt.Step(18))
            draw_chart(chart, alt=f"Bars: logits of the tokens that are {direction}")
