"""Panel of the page ``features``: the commands that steer the model with one feature, and that find others like it."""

import shlex
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.navigation import link
from dashboards.ui.panels import panel
from dashboards.ui.reading import ask, filled
from dashboards.views.features.latest import LATEST_SCORES

STEERING = f"""with {LATEST_SCORES},

stats as (
    select max_activation
    from feature_stats
    where collection = $collection and sae = $sae and feature_id = $feature_id
)

select
    a.layer, $feature_id as feature_id, coalesce(t.max_activation, s.max_activation) as max_activation,
    trim(s.top_tokens[1]) as top_token
from saes as a
left join stats as t on true
left join scores as s on s.feature_id = $feature_id
where a.collection = $collection and a.sae = $sae"""

STUDIED = """select s.sae, s.label, s.layer
from latest_sae_study as s
inner join saes as w
    on w.collection = s.collection and w.weights_hash = s.weights_hash and w.layer = s.layer and w.site = s.site
where s.collection = $collection and w.sae = $sae
order by s.label, s.sae"""


def steering(about: dict[str, Any]) -> None:
    """Ready commands, and a link to the study that compares this SAE with others."""
    panel(
        "Steer and find",
        filled(STEERING, **about),
        _steering,
        note="`ato steer` clamps the feature to a value during generation, beside the unedited text; `--to` is set to the largest measured "
        "activation, and several `--feature` may be named. `ato find` ranks features by how well they separate texts "
        "with a phrase from texts without "
        "it, beside random phrases.",
    )
    for found in ask(filled(STUDIED, **about)).iter_rows(named=True):
        link("This SAE among others: SAE study", "sae_study", layer=found["layer"], studied=found["label"])


def _steering(rows: pl.DataFrame) -> None:
    row = rows.row(0, named=True)
    to = "VALUE" if row["max_activation"] is None else f"{row['max_activation']:.3g}"
    st.code(
        f'ato steer --feature L{row["layer"]}/{row["feature_id"]} --to {to} --prompt "I think that"',
        language="sh",
        wrap_lines=True,
    )
    st.code(f"ato find {shlex.quote(row['top_token'] or 'Golden Gate Bridge')}", language="sh", wrap_lines=True)
    if row["max_activation"] is None:
        st.caption("VALUE: no activation of this feature was measured; `ato run features` does.")
