-- every evaluation and its subject; is_latest marks the one that started last
with judged as (
    -- An operator has one pair, policy and method: grouping millions of rows by its key alone takes half the time.
    select
        collection, 'feature_transport' as kind, evaluation, sae, operator,
        any_value(source_layer) as source_layer, any_value(target_layer) as target_layer,
        any_value(position_policy) as position_policy, any_value(method) as method, null::varchar as part
    from feature_transport
    group by collection, evaluation, sae, operator
    union all
    select distinct
        collection, 'efficiency', evaluation, null, null,
        source_layer, target_layer, position_policy, null, null
    from efficiency
    union all
    select distinct
        collection, 'compositions', evaluation, null, null,
        source_layer, target_layer, position_policy, method, 'over ' || middle_layer
    from compositions
    union all
    select distinct
        collection, 'scaling', evaluation, null, null,
        source_layer, target_layer, position_policy, method, null
    from scaling
    union all
    select distinct
        collection, 'causal_effects', evaluation, null, null,
        source_layer, target_layer, null, method, positions
    from causal_effects
    where intervention <> 'none'
    union all
    select distinct
        collection, 'feature_links', evaluation, sae, null,
        null, null, null, method, other_sae
    from feature_links
    union all
    select distinct
        collection, 'feature_ablations', evaluation, sae, null,
        source_layer, target_layer, null, method, null
    from feature_ablations
    union all
    select distinct
        collection, 'feature_scores', scoring, sae, null,
        null, layer, null, null, null
    from feature_scores
),

final as (
    select
        j.*,
        t.made_at as evaluated_at,
        row_number() over (
            partition by
                j.collection, j.kind, j.sae, j.operator, j.source_layer, j.target_layer, j.position_policy, j.method, j.part
            order by t.made_at desc nulls last, j.evaluation
        ) = 1 as is_latest
    from judged as j
    left join run_times as t on t.collection = j.collection and t.key = j.evaluation
)

select * from final
order by collection, kind, sae, operator, source_layer, target_layer, position_policy, method, part, evaluation
