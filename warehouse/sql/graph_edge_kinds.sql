-- edges of each latest graph by kinds of source and target: how many, their absolute weight, which share of it is transport
--
-- weight_share: of the absolute weight of all edges of the graph that were kept.
-- transport_share: of the absolute weight of compared edges; NULL where none were.
with kinds as (
    select n.collection, n.graph_set, n.prompt, n.graph_kind, n.node, n.kind, n.layer, n.position
    from graph_nodes as n
    semi join graph_summary using (collection, graph_set, prompt, graph_kind)
),

named as (
    select
        e.collection,
        e.graph_set,
        e.prompt,
        e.graph_kind,
        s.kind as source_kind,
        t.kind as target_kind,
        s.position = t.position as same_position,
        abs(e.weight) as size,
        e.transport_share
    from graph_edges as e
    inner join kinds as s
        on s.collection = e.collection and s.graph_set = e.graph_set and s.prompt = e.prompt
        and s.graph_kind = e.graph_kind and s.node = e.source
    inner join kinds as t
        on t.collection = e.collection and t.graph_set = e.graph_set and t.prompt = e.prompt
        and t.graph_kind = e.graph_kind and t.node = e.target
),

grouped as (
    select
        collection,
        graph_set,
        prompt,
        graph_kind,
        source_kind,
        target_kind,
        count(*) as n_edges,
        count(*) filter (where same_position) as n_same_position,
        sum(size) as absolute_weight,
        count(transport_share) as n_compared,
        sum(size) filter (where transport_share is not null) as compared_weight,
        sum(size * transport_share) as transported_weight
    from named
    group by all
),

final as (
    select
        collection,
        graph_set,
        prompt,
        graph_kind,
        source_kind,
        target_kind,
        n_edges,
        n_same_position,
        absolute_weight,
        absolute_weight / nullif(sum(absolute_weight) over (partition by collection, graph_set, prompt, graph_kind), 0) as weight_share,
        n_compared,
        transported_weight / nullif(compared_weight, 0) as transport_share
    from grouped
)

select * from final
order by collection, prompt, graph_kind, absolute_weight desc, source_kind, target_kind
