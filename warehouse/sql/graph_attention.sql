-- heads of each latest graph: how many traced edges pass them and how much of these; the direct path has neither layer nor head
--
-- share: of the absolute parts of all traced edges of the graph, heads and direct paths together.
-- mean_attention: attention weight from the target to the position that was read, weighted by the absolute contribution.
-- advantage: mean of score less mean_score over traced scores: how far the head preferred where it looked.
with traced as (
    select h.*
    from graph_heads as h
    semi join graph_summary using (collection, graph_set, prompt, graph_kind)
),

heads as (
    select
        collection,
        graph_set,
        prompt,
        layer,
        head,
        count(*) as n_edges,
        sum(contribution) as contribution,
        sum(abs(contribution)) as absolute_contribution,
        sum(abs(contribution) * attention) / nullif(sum(abs(contribution)), 0) as mean_attention,
        count(score) as n_scores,
        avg(score - mean_score) as advantage
    from traced
    group by all
),

edges as (
    select collection, graph_set, prompt, source, target, any_value(direct) as direct
    from traced
    group by all
),

direct as (
    select
        collection,
        graph_set,
        prompt,
        null::integer as layer,
        null::integer as head,
        count(*) as n_edges,
        sum(direct) as contribution,
        sum(abs(direct)) as absolute_contribution,
        null::double as mean_attention,
        0 as n_scores,
        null::double as advantage
    from edges
    group by all
),

parts as (
    select * from heads
    union all
    select * from direct
),

final as (
    select
        *,
        absolute_contribution
        / nullif(sum(absolute_contribution) over (partition by collection, graph_set, prompt), 0) as share
    from parts
)

select * from final
order by collection, prompt, absolute_contribution desc, layer, head
