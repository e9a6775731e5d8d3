"""Panels of the page ``graphs``: through which attention heads edges pass, and what made these look where they looked."""

from dashboards.ui.declared import Column, Panel

SHOWN = 100
"""Rows at most; the SQL page has all."""

_NODES = """nodes as (
    select
        node,
        node_id,
        position,
        if(kind = 'feature', 'L' || layer || '/' || feature_id, replace(kind, '_', ' ')) || ' at ' || position || ' ' || token as name
    from graph_nodes
    where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
)"""
_HEADS = """heads as (
    select h.*, s.name as source_name, t.name as target_name, t.position as query_position
    from graph_heads as h
    inner join nodes as s on s.node = h.source
    inner join nodes as t on t.node = h.target
    where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
        and coalesce($node_id, '') in ('', s.node_id, t.node_id)
)"""

HEADS = f"""with {_NODES},

{_HEADS},

prompt_tokens as (
    select tokens
    from graphs
    where collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind
)

select source_name as source, target_name as target, layer, head, weight, contribution, through, attention,
    tokens[key_position + 1] as looked_at, key_position, key_contribution, score, mean_score
from heads
inner join graph_edges as e using (collection, graph_set, prompt, graph_kind, source, target)
cross join prompt_tokens
order by abs(contribution) desc, source, target, layer, head
limit {SHOWN}"""

PAIRS = f"""with {_NODES},

{_HEADS},

looks as (
    select distinct collection, graph_set, prompt, graph_kind, layer, head, query_position, key_position, score
    from heads
    where score is not null
)

select layer, head, query_position, key_position, score, weight,
    if(query_kind = 'feature', 'L' || query_layer || '/' || query_feature_id, query_kind) || ' at ' || query_node_position as asked,
    if(key_kind = 'feature', 'L' || key_layer || '/' || key_feature_id, key_kind) || ' at ' || key_node_position as answered
from graph_qk
inner join looks using (collection, graph_set, prompt, graph_kind, layer, head, query_position, key_position)
order by abs(weight) desc, layer, head, query_position, key_position, pair
limit {SHOWN}"""

HEADS_OF_EDGES = Panel(
    "Attention heads of edges",
    HEADS,
    note=f"At most {SHOWN} rows, of edges of the clicked node or of any. Contribution: part of the edge's weight on paths whose "
    "last head this is; those of all heads and the direct path sum to the weight. Through: all paths with this head. Looked at: "
    "the position that most of it was read at. Score: of query and key before soft cap and mask, beside the mean over all positions.",
    empty="No heads of these edges were measured: those of the `graphs.n_traced_edges` strongest edges are.",
    columns=(
        *(Column(name, name) for name in ("source", "target", "layer", "head", "weight", "contribution", "through")),
        Column("attention", "attention"),
        Column("looked_at", "looked at"),
        Column("key_position", "position"),
        Column("key_contribution", "read there"),
        Column("score", "score"),
        Column("mean_score", "mean score"),
    ),
)
PAIRS_OF_HEADS = Panel(
    "Query and key components of these heads",
    PAIRS,
    note=f"At most {SHOWN} rows. Weight: part of the score that is the product of what the one node writes into the query and the "
    "other into the key. The parts that are not listed are in the column `rest` of `graph_heads`.",
    empty="No score of these heads was traced.",
    columns=(
        Column("layer", "layer"),
        Column("head", "head"),
        Column("query_position", "from position"),
        Column("key_position", "to position"),
        Column("score", "score"),
        Column("weight", "weight"),
        Column("asked", "asked"),
        Column("answered", "answered"),
    ),
)
