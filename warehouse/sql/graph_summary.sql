-- one row a graph, of the latest set that has its prompt: size, what its influence comes from, checks, share of transport
--
-- share_computed: what is left of the compared effect between features when plain transport is taken away.
-- balanced: the books balance to the precision of the computation; NULL without targets, or in bfloat16.
with latest as (
    select g.*, t.made_at
    from graphs as g
    left join run_times as t on t.collection = g.collection and t.key = g.graph_set
    qualify row_number() over (
        partition by g.collection, g.prompt, g.graph_kind
        order by t.made_at desc nulls last, g.graph_set
    ) = 1
),

nodes as (
    select
        n.collection,
        n.graph_set,
        n.prompt,
        n.graph_kind,
        count(*) filter (where kind = 'feature') as n_features,
        count(*) filter (where kind = 'error') as n_errors,
        count(*) filter (where kind = 'transport_error') as n_transport_errors,
        count(*) filter (where kind = 'token') as n_token_nodes,
        count(*) filter (where kind = 'logit') as n_logits,
        max_by(token, activation) filter (where kind = 'logit') as likeliest_token,
        max(activation) filter (where kind = 'logit') as likeliest_probability
    from graph_nodes as n
    semi join latest using (collection, graph_set, prompt, graph_kind)
    group by all
),

final as (
    select
        l.collection,
        l.graph_set,
        l.prompt,
        l.graph_kind,
        l.text,
        l.target_token,
        n.likeliest_token,
        n.likeliest_probability,
        l.n_tokens,
        l.layers,
        l.n_nodes,
        l.n_edges,
        l.n_nodes_whole,
        l.n_edges_whole,
        coalesce(n.n_features, 0) as n_features,
        coalesce(n.n_errors, 0) as n_errors,
        coalesce(n.n_transport_errors, 0) as n_transport_errors,
        coalesce(n.n_token_nodes, 0) as n_token_nodes,
        coalesce(n.n_logits, 0) as n_logits,
        l.replacement,
        l.completeness,
        l.error_share,
        l.transport_share,
        1 - l.transport_share as share_computed,
        l.precision,
        l.conservation_residual,
        case l.precision
            when 'float64' then l.conservation_residual <= 1e-9
            when 'float32' then l.conservation_residual <= 1e-4
        end as balanced,
        l.repeat_difference,
        l.n_ablated,
        l.pearson,
        l.pearson_low,
        l.pearson_high,
        l.pearson_control,
        l.spearman,
        l.seconds,
        l.made_at
    from latest as l
    left join nodes as n using (collection, graph_set, prompt, graph_kind)
)

select * from final
order by collection, prompt, graph_kind
