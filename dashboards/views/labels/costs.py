"""Panel of the page ``labels``: what was asked of language models, how it went, and what it cost."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import table

COSTS = """select
    judge, purpose, status, count(*) as n_calls, sum(n_attempts)::bigint as n_requests, sum(prompt_tokens)::bigint as prompt_tokens,
    sum(completion_tokens)::bigint as completion_tokens, sum(cost) as cost, avg(seconds) as mean_seconds,
    string_agg(distinct mode, ', ' order by mode) as modes, mode(reason) as usual_reason
from (from llm_calls where collection = $collection qualify row_number() over (partition by judge, call order by made_at, labelling) = 1)
group by judge, purpose, status
order by judge, purpose, status"""


def costs(about: dict[str, Any]) -> None:
    """Calls, tokens and money by judge, purpose and outcome; a call that several labellings share counts once."""
    panel(
        "Cost of the judge",
        filled(COSTS, **about),
        _costs,
        note="Calls of all labellings of the collection; cached answers are not counted. Requests: repeated ones included. Cost: by "
        "the prices of the settings. Modes: how the server was asked for the schema. Judges that call no model have no row.",
        empty="No language model was called: the judges `overlap` and `embedding` need none. Choose one with `label.judge=chat`, then "
        "`ato run label --dry-run` says what it would cost.",
    )


def _costs(rows: pl.DataFrame) -> None:
    whole = partial(st.column_config.NumberColumn, format="localized")
    table(
        rows,
        {
            "n_calls": whole("calls"),
            "n_requests": whole("requests"),
            "prompt_tokens": whole("prompt tokens"),
            "completion_tokens": whole("completion tokens"),
            "cost": st.column_config.NumberColumn("cost", format="%.4f"),
            "mean_seconds": st.column_config.NumberColumn("mean seconds", format="%.2f"),
            "usual_reason": "usual reason",
        },
    )
