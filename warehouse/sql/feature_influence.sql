-- how much of the influence on what a set of prompts makes likely a feature has: one row a feature of the latest attribution graphs
--
-- influence: mean over prompts of the share of a graph's influence that the feature has at all positions, 0 where it is not in the graph.
-- A node's share is what the cumulative one grows by at its rank, so that a loose end that pruning took away counts for the next.
with latest as (
    select collection, graph_set, prompt, graph_kind from graph_summary where graph_kind = 'attribution'
),

prompts as (
    select collection, count(*) as n_prompts from latest group by collection
),

shares as (
    select
        n.collection,
        n.prompt,
        n.kind,
        n.sae,
        n.layer,
        n.feature_id,
        n.influence - lag(n.influence, 1, 0) over (
            partition by n.collection, n.graph_set, n.prompt order by n.influence, n.node
        ) as influence
    from graph_nodes as n
    semi join latest using (collection, graph_set, prompt, graph_kind)
    where n.influence is not null
),

final as (
    select
        s.collection,
        s.sae,
        s.layer,
        s.feature_id,
        count(distinct s.prompt) as n_prompts_with_it,
        any_value(p.n_prompts) as n_prompts,
        sum(s.influence) / any_value(p.n_prompts) as influence
    from shares as s
    inner join prompts as p using (collection)
    where s.kind = 'feature'
    group by s.collection, s.sae, s.layer, s.feature_id
)

select * from final
order by collection, layer, sae, influence desc, feature_id
