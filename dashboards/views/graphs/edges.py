"""Panels of the page ``graphs``: the strongest edges of the chosen graph, and edges that recur over prompts."""

from functools import partial
from typing import Any

import polars as pl
import streamlit as st

from dashboards.ui.navigation import go
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import table, ticked

SHOWN = 200
"""Rows at most; the SQL page has all."""

EDGES = f"""with nodes as (
    select
        node,
        case kind when 'feature' then 'L' || layer || '/' || feature_id when 'token' then 'token' when 'logit' then 'logit'
            when 'constant' then 'constant' else replace(kind, '_', ' ') || ' L' || layer
        end || ' at ' || position || ' ' || token as name,
        label
    from graph_nodes
    where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
)

select s.name as source, t.name as target, e.weight, e.transport_weight, e.transport_share, e.ablation, s.label as source_label,
    t.label as target_label
from graph_edges as e
inner join nodes as s on s.node = e.source
inner join nodes as t on t.node = e.target
where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
order by abs(e.weight) desc, e.source, e.target
limit {SHOWN}"""

MOTIFS = f"""with latest as (
    select m.graph_set
    from graph_motifs as m
    left join stage_runs as r on r.collection = m.collection and r.key = m.graph_set
    where m.collection = $collection
    group by m.graph_set
    order by max(r.started_at) desc nulls last, m.graph_set
    limit 1
)

select source_layer, source_feature, target_layer, target_feature, same_position, n_graphs, n_prompts, n_edges, weight,
    positive_share, transport_share, source_sae, target_sae
from graph_motifs
semi join latest using (graph_set)
where collection = $collection and graph_kind = $graph_kind
order by n_graphs desc, abs(weight) desc, source_layer, source_feature, target_layer, target_feature, same_position
limit {SHOWN}"""


def edges(about: dict[str, Any]) -> None:
    """The strongest edges, by attribution and by transport, with what ablation says."""
    panel(
        "Strongest edges",
        filled(EDGES, **about),
        _edges,
        note=f"At most {SHOWN} rows by size. Weight: direct effect on the target's pre-activation or logit; transport: the same edge by "
        "the operator between the two layers; share: transport over weight, clipped to [0, 1]; ablation: change in the real model when the "
        "source is removed, with its sign reversed, of sampled edges. –: no operator joins the two, or not sampled.",
        empty="This graph has no edges.",
    )


def _edges(rows: pl.DataFrame) -> None:
    value = partial(st.column_config.NumberColumn, format="%.3g", width="small")
    table(
        rows,
        {
            "weight": value("weight"),
            "transport_weight": value("transport"),
            "transport_share": st.column_config.NumberColumn("share", format="percent", width="small"),
            "ablation": value("ablation"),
            "source_label": "label of the source",
            "target_label": "label of the target",
        },
    )


def motifs(about: dict[str, Any]) -> None:
    """Edges between features that several prompts share; a ticked row opens the target."""
    panel(
        "Edges that recur over prompts",
        filled(MOTIFS, **about),
        _motifs,
        note=f"At most {SHOWN} rows of the latest set of prompts, the most frequent first. Weight: mean over these edges. Tick a row "
        "to open the target's feature.",
        empty="No two prompts share an edge of this kind of graph.",
    )


def _motifs(rows: pl.DataFrame) -> None:
    whole = partial(st.column_config.NumberColumn, format="%d", width="small")
    picked = ticked(
        rows,
        {
            "source_layer": whole("source layer"),
            "source_feature": whole("feature"),
            "target_layer": whole("target layer"),
            "target_feature": whole("feature"),
            "same_position": "same position",
            "n_graphs": whole("in prompts"),
            "n_prompts": whole("of"),
            "n_edges": whole("edges"),
            "weight": st.column_config.NumberColumn("weight", format="%.3g", width="small"),
            "positive_share": st.column_config.NumberColumn("positive", format="percent", width="small"),
            "transport_share": st.column_config.NumberColumn("transport", format="percent", width="small"),
            "source_sae": None,
            "target_sae": None,
        },
        key="motifs",
    )
    if picked is not None:
        go("features", sae=picked["target_sae"], feature_id=picked["target_feature"])
