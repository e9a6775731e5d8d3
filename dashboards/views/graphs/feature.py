"""Panel of the page ``graphs``: the feature of the clicked node, with its label and examples."""

from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.navigation import link
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.ui.windows import coloured, feature_in_reader, leads_to_text

SHOWN = 6
"""Examples at most."""

EXAMPLES = f"""with clicked as (
    select collection, node_id, token, sae, layer, position as prompt_position, feature_id, label, activation, transport_share, n_compared
    from graph_nodes
    where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
        and node_id = $node_id and feature_id is not null
),

latest as (
    select collection, sae, evaluation as scoring
    from latest_evaluations
    where kind = 'feature_scores' and is_latest
),

examples as (
    select
        e.collection, e.sae, e.feature_id, e.rank, e.tokens, e.activations, e.position - e.start as peak, e.sequence_id, e.position,
        s.document_id, c.corpus
    from feature_examples as e
    semi join latest using (collection, sae, scoring)
    semi join clicked using (collection, sae, feature_id)
    left join sequences as s using (collection, sequence_id)
    left join collections as c using (collection)
    where e.kind = 'top' and e.rank <= {SHOWN}
)

select c.*, g.text as prompt_text, e.rank, e.tokens, e.activations, e.peak, e.sequence_id, e.position, e.document_id,
    e.corpus, max(list_max(e.activations)) over () as largest
from clicked as c
left join examples as e using (collection, sae, feature_id)
left join graphs as g
    on g.collection = c.collection and g.graph_set = $graph_set and g.prompt = $prompt and g.graph_kind = $graph_kind
order by e.rank"""


def feature(about: dict[str, Any], node_id: str) -> None:
    """Label and strongest examples of the feature of a node."""
    panel(
        "Feature of the clicked node",
        filled(EXAMPLES, **about, node_id=node_id),
        _draw,
        note=f"Its {SHOWN} strongest examples from train text; deeper colour: larger activation. The feature's page has all.",
        empty="Click a feature in the graph to see what activates it.",
    )


def _draw(rows: pl.DataFrame) -> None:
    of = rows.row(0, named=True)
    name = f"Feature {of['feature_id']} at layer {of['layer']}"
    st.markdown(
        plain(
            f"{name}, active on {of['token']!r} at position {of['prompt_position']}: {of['label'] or 'without a label'}. "
            f"Activation {of['activation']:.3g}; {_share(of)}."
        )
    )
    own = {"sae": of["sae"], "feature_id": of["feature_id"]}
    with st.container(horizontal=True):
        link(f"Open {name.lower()}", "features", **own)
        link("Its activations on this prompt", "features", **own, sentence=of["prompt_text"])
    shown = rows.filter(rows["tokens"].is_not_null())
    if shown.is_empty():
        st.caption("No examples: `ato run features` stores them for the selected features.")
    for row in shown.iter_rows(named=True):
        st.html(coloured(row["tokens"], row["activations"], row["largest"], row["peak"]))
        leads_to_text(row, of["collection"], features=feature_in_reader(own))


def _share(of: dict[str, Any]) -> str:
    if of["transport_share"] is None:
        return "no edge into it was compared with transport"
    return f"{of['transport_share']:.0%} of the compared effect on it is transport, over {of['n_compared']} edges"
