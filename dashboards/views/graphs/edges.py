"""Panels of the page ``graphs``: the strongest edges of the chosen graph, and edges that recur over prompts."""

from dashboards.ui.declared import Column, Link, Panel

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
    left join graph_summary as s on s.collection = m.collection and s.graph_set = m.graph_set
    where m.collection = $collection
    group by m.graph_set
    order by max(s.made_at) desc nulls last, m.graph_set
    limit 1
)

select source_layer, source_feature, target_layer, target_feature, same_position, n_graphs, n_prompts, n_edges, weight,
    positive_share, transport_share, source_sae, target_sae
from graph_motifs
semi join latest using (graph_set)
where collection = $collection and graph_kind = $graph_kind
order by n_graphs desc, abs(weight) desc, source_layer, source_feature, target_layer, target_feature, same_position
limit {SHOWN}"""

STRONGEST_EDGES = Panel(
    "Strongest edges",
    EDGES,
    note=f"At most {SHOWN} rows by size. Weight: direct effect on the target's pre-activation or logit; transport: the same edge by "
    "the operator between the two layers; share: transport over weight, clipped to [0, 1]; ablation: change in the real model when the "
    "source is removed, with its sign reversed, of sampled edges. –: no operator joins the two, or not sampled.",
    empty="This graph has no edges.",
    columns=(
        Column("source", "source"),
        Column("target", "target"),
        Column("weight", "weight"),
        Column("transport_weight", "transport"),
        Column("transport_share", "share", "percent"),
        Column("ablation", "ablation"),
        Column("source_label", "label of the source"),
        Column("target_label", "label of the target"),
    ),
)
RECURRING_EDGES = Panel(
    "Edges that recur over prompts",
    MOTIFS,
    note=f"At most {SHOWN} rows of the latest set of prompts, the most frequent first. Weight: mean over these edges. Tick a row "
    "to open the target's feature.",
    empty="No two prompts share an edge of this kind of graph.",
    columns=(
        Column("source_layer", "source layer"),
        Column("source_feature", "feature"),
        Column("target_layer", "target layer"),
        Column("target_feature", "feature"),
        Column("same_position", "same position"),
        Column("n_graphs", "in prompts"),
        Column("n_prompts", "of"),
        Column("n_edges", "edges"),
        Column("weight", "weight"),
        Column("positive_share", "positive", "percent"),
        Column("transport_share", "transport", "percent"),
    ),
    link=Link("feature", {"sae": "target_sae", "feature_id": "target_feature"}),
)
