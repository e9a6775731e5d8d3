-- operators of one layer pair by test R2, each beside the identity and the mean of the pair
with fitted as (
    select * from operators
),

identity as (
    select collection, source_layer, target_layer, position_policy, max(r2_test) as r2_test_identity
    from fitted
    where method = 'identity'
    group by all
),

mean as (
    select collection, source_layer, target_layer, position_policy, max(r2_test) as r2_test_mean
    from fitted
    where method = 'mean'
    group by all
),

final as (
    select
        f.collection,
        f.source_layer,
        f.leap,
        f.target_layer,
        f.position_policy,
        rank() over (
            partition by f.collection, f.source_layer, f.target_layer, f.position_policy
            order by f.r2_test desc nulls last
        ) as place,
        f.method,
        f.output_weight,
        f.rank,
        f.alpha,
        f.alpha_at_edge,
        f.few_tokens,
        f.r2_test,
        f.r2_test_low,
        f.r2_test_high,
        i.r2_test_identity,
        m.r2_test_mean,
        f.r2_test - i.r2_test_identity as r2_over_identity,
        -- NULL for the baselines, which the others are held against.
        if(f.method in $baselines, null, f.r2_test_low > i.r2_test_identity) as beats_identity,
        f.skill,
        f.skill_low,
        f.skill_high,
        f.r2_update,
        f.r2_weighted,
        f.r2_whitened,
        f.operator,
        f.registry_uri
    from fitted as f
    left join identity as i using (collection, source_layer, target_layer, position_policy)
    left join mean as m using (collection, source_layer, target_layer, position_policy)
)

select * from final
order by collection, source_layer, target_layer, position_policy, place, operator
