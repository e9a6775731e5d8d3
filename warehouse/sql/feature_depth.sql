-- distribution of the per-feature r2 at one target layer and leap, over all scored features and over the selected ones
with selected_features as (
    select s.collection, s.sae, s.feature_id
    from feature_scores as s
    inner join latest_evaluations as l
        on l.kind = 'feature_scores' and l.collection = s.collection and l.evaluation = s.scoring and l.sae = s.sae
    where l.is_latest and s.selected
),

chosen_operators as (
    select collection, operator
    from operators
    qualify row_number() over (
        partition by collection, source_layer, target_layer, method, position_policy
        order by r2_val desc nulls last, operator
    ) = 1
),

scored as (
    select f.*
    from feature_transport as f
    semi join chosen_operators as o on o.collection = f.collection and o.operator = f.operator
    inner join latest_evaluations as l
        on l.kind = 'feature_transport' and l.collection = f.collection and l.evaluation = f.evaluation
        and l.sae = f.sae and l.operator = f.operator
    where l.is_latest and f.r2 is not null
),

grouped as (
    select 'all' as features, * from scored
    union all
    select 'selected' as features, s.*
    from scored as s
    semi join selected_features as k
        on k.collection = s.collection and k.sae = s.sae and k.feature_id = s.feature_id
),

final as (
    select
        collection,
        features,
        sae,
        target_layer,
        leap,
        source_layer,
        position_policy,
        method,
        operator,
        count(*) as n_features,
        sum(n_active)::bigint as n_active,
        avg(r2) as mean_r2,
        -- Ends of the features' own intervals, averaged: at least as wide as the interval of the average.
        avg(r2_low) as mean_r2_low,
        avg(r2_high) as mean_r2_high,
        quantile_cont(r2, 0.05) as r2_q05,
        quantile_cont(r2, 0.25) as r2_q25,
        quantile_cont(r2, 0.50) as r2_q50,
        quantile_cont(r2, 0.75) as r2_q75,
        quantile_cont(r2, 0.95) as r2_q95,
        bool_and(sae_trusted) as sae_trusted
    from grouped
    group by all
)

select * from final
order by collection, features, sae, target_layer, position_policy, method, leap, operator
