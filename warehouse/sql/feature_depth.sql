-- distribution of the per-feature r2 at one target layer and leap, over all scored features and over the selected ones
with selected_features as (
    select collection, sae, feature_id
    from latest_feature_scores
    where selected
),

chosen_operators as (
    select collection, operator
    from operators
    qualify row_number() over (
        partition by collection, source_layer, target_layer, method, position_policy
        order by r2_val desc nulls last, operator
    ) = 1
),

judged as (
    select l.*
    from latest_evaluations as l
    semi join chosen_operators as o on o.collection = l.collection and o.operator = l.operator
    where l.kind = 'feature_transport' and l.is_latest
),

-- Group first, join later: one join for each operator instead of one for each of its features.
grouped as (
    select
        'all' as features,
        collection,
        evaluation,
        sae,
        operator,
        count(*) as n_features,
        sum(n_active)::bigint as n_active,
        avg(r2) as mean_r2,
        quantile_cont(r2, [0.05, 0.25, 0.5, 0.75, 0.95]) as r2_quantiles,
        bool_and(sae_trusted) as sae_trusted
    from feature_transport
    where r2 is not null
    group by collection, evaluation, sae, operator
    union all
    select
        'selected' as features,
        f.collection,
        f.evaluation,
        f.sae,
        f.operator,
        count(*) as n_features,
        sum(f.n_active)::bigint as n_active,
        avg(f.r2) as mean_r2,
        quantile_cont(f.r2, [0.05, 0.25, 0.5, 0.75, 0.95]) as r2_quantiles,
        bool_and(f.sae_trusted) as sae_trusted
    from feature_transport as f
    semi join selected_features as k
        on k.collection = f.collection and k.sae = f.sae and k.feature_id = f.feature_id
    where f.r2 is not null
    group by f.collection, f.evaluation, f.sae, f.operator
),

final as (
    select
        g.collection,
        g.features,
        g.sae,
        j.target_layer,
        j.target_layer - j.source_layer as leap,
        j.source_layer,
        j.position_policy,
        j.method,
        g.operator,
        g.n_features,
        g.n_active,
        g.mean_r2,
        -- Limits belong to the average over the same features: those selected since have none.
        if(a.n_features = g.n_features and abs(a.value - g.mean_r2) < 1e-6, a.value_low, null) as mean_r2_low,
        if(a.n_features = g.n_features and abs(a.value - g.mean_r2) < 1e-6, a.value_high, null) as mean_r2_high,
        g.r2_quantiles[1] as r2_q05,
        g.r2_quantiles[2] as r2_q25,
        g.r2_quantiles[3] as r2_q50,
        g.r2_quantiles[4] as r2_q75,
        g.r2_quantiles[5] as r2_q95,
        g.sae_trusted
    from grouped as g
    inner join judged as j using (collection, evaluation, sae, operator)
    left join feature_transport_averages as a
        on
            a.collection = g.collection and a.evaluation = g.evaluation and a.sae = g.sae and a.operator = g.operator
            and a.features = g.features and a.statistic = 'mean_r2'
)

select * from final
order by collection, features, sae, target_layer, position_policy, method, leap, operator
