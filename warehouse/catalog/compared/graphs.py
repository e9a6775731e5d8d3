"""Two graphs side by side: size and checks, nodes and edges that both have, by kind."""

from warehouse.catalog.compared.statements import DIFFERENCES_NOTE, Part, both, differences, measures

SHOWN = 300
"""Nodes of the table, and edges of the chart."""
OWN = "collection = $collection and graph_set = $graph_set and prompt = $prompt and graph_kind = $graph_kind"

_CHECKS = measures(
    f"select * from graph_summary where {OWN}",
    """
    tokens | tokens | n_tokens | | | |
    feature nodes | nodes | n_features | | | |
    edges | edges | n_edges | | | |
    replacement | share of influence that is not from errors | replacement | | | n_nodes_whole | nodes
    completeness | share of inputs that are no errors | completeness | | | n_nodes_whole | nodes
    from errors | share of absolute weight | error_share | | | n_edges_whole | edges
    transport | share of the effect between features | transport_share | | | n_edges | edges
    Pearson with ablations | correlation | pearson | pearson_low | pearson_high | n_ablated | edges
    probability of the likeliest token | probability | likeliest_probability | | | |
    """,
)
_KEYS = """case kind
        when 'feature' then sae || '/' || feature_id
        when 'error' then 'error of ' || coalesce(sae, 'layer ' || layer)
        when 'transport_error' then 'transport error at layer ' || layer
        when 'constant' then 'constant'
        else kind || ' ' || token
    end"""
_NODES = f"""select {_KEYS} as name, any_value(kind) as kind, any_value(layer) as layer, any_value(sae) as sae,
    any_value(feature_id) as feature_id, any_value(label) as label, count(*) as n_nodes, max(activation) as activation,
    min(influence) as influence,
    list(distinct token order by token)[:4] as tokens
from graph_nodes
where {OWN}
group by name"""
_EDGES = f"""select s.name as source, t.name as target, any_value(s.kind) as source_kind, any_value(t.kind) as target_kind,
    sum(e.weight) as weight, count(*) as n_edges
from graph_edges as e
inner join (select node, kind, {_KEYS} as name from graph_nodes where {OWN}) as s on s.node = e.source
inner join (select node, kind, {_KEYS} as name from graph_nodes where {OWN}) as t on t.node = e.target
where {OWN}
group by s.name, t.name"""
_CTES = f"""nodes as (
{both(_NODES)}
),

edges as (
{both(_EDGES)}
),

shared_nodes as (
    select name, l.kind, l.layer, l.sae, l.feature_id, coalesce(l.label, r.label) as label, l.n_nodes as left_nodes,
        r.n_nodes as right_nodes, l.activation as left_activation, r.activation as right_activation,
        l.influence as left_influence, r.influence as right_influence,
        l.tokens as left_tokens, r.tokens as right_tokens
    from (from nodes where side = 'left') as l
    inner join (from nodes where side = 'right') as r using (name)
),

shared_edges as (
    select source, target, l.source_kind, l.target_kind, l.weight as left_weight, r.weight as right_weight, l.n_edges as left_edges,
        r.n_edges as right_edges
    from (from edges where side = 'left') as l
    inner join (from edges where side = 'right') as r using (source, target)
)"""
DIFFERENCES = Part(
    "Differences",
    differences(both(_CHECKS)),
    note=f"{DIFFERENCES_NOTE} Pearson: edges against ablations of their sources in the real model.",
)
OVERLAP = Part(
    "What both have",
    f"""with {_CTES},

counted as (
    select 'features' as what, count(*) filter (where side = 'left') as n_left, count(*) filter (where side = 'right') as n_right
    from nodes where kind = 'feature'
    union all
    select 'edges between features', count(*) filter (where side = 'left'), count(*) filter (where side = 'right')
    from edges where source_kind = 'feature' and target_kind = 'feature'
    union all
    select 'all edges', count(*) filter (where side = 'left'), count(*) filter (where side = 'right') from edges
),

in_both as (
    select 'features' as what, count(*) as n_both, null::double as correlation from shared_nodes where kind = 'feature'
    union all
    select 'edges between features', count(*), corr(left_weight, right_weight)
    from shared_edges where source_kind = 'feature' and target_kind = 'feature'
    union all
    select 'all edges', count(*), corr(left_weight, right_weight) from shared_edges
)

select what, n_left, n_right, n_both, n_both / nullif(n_left + n_right - n_both, 0) as jaccard,
    if(isfinite(correlation), correlation, null) as correlation
from counted inner join in_both using (what)
order by list_position(['features', 'edges between features', 'all edges'], what)""",
    note="Nodes at any position count as one: features by SAE and number, tokens and outputs by their text. Jaccard: both, of those that "
    "either has. Correlation: Pearson's, of the weights of shared edges.",
)
NODES = Part(
    "Shared nodes",
    f"""with {_CTES}
select name, kind, layer, label, left_influence, right_influence, left_activation, right_activation, left_nodes, right_nodes, left_tokens,
    right_tokens, sae, feature_id, count(*) over () as n_shared
from shared_nodes
order by kind <> 'feature', least(left_influence, right_influence) nulls last, layer, name
limit {SHOWN}""",
    note=f"At most {SHOWN}, the most influential first. Influence: the cumulative share at the node's rank in the whole graph, small is "
    "important; of several positions the most important one.",
    empty="The two have no node in common.",
)
EDGES = Part(
    "Shared edges",
    f"""with {_CTES}
select source, target, source_kind, target_kind, left_weight, right_weight, right_weight - left_weight as difference, left_edges,
    right_edges, count(*) over () as n_shared, least(min(left_weight) over (), min(right_weight) over (), 0) as lowest,
    greatest(max(left_weight) over (), max(right_weight) over (), 0) as highest
from shared_edges
order by greatest(abs(left_weight), abs(right_weight)) desc, source, target
limit {SHOWN}""",
    note=f"Sum of the direct effects over positions, at most {SHOWN} edges, the strongest first. On the line nothing differs.",
    empty="The two have no edge in common.",
)
PARTS = DIFFERENCES, OVERLAP, NODES, EDGES
