-- a direct operator against the product of two shorter operators over a middle layer
with compared as (
    select c.*
    from compositions as c
    inner join latest_evaluations as l
        on l.kind = 'compositions' and l.collection = c.collection and l.evaluation = c.evaluation
        and l.source_layer = c.source_layer and l.target_layer = c.target_layer
        and l.position_policy = c.position_policy and l.method = c.method and l.part = 'over ' || c.middle_layer
    where l.is_latest
),

final as (
    select
        collection,
        evaluation,
        source_layer,
        middle_layer,
        target_layer,
        leap,
        position_policy,
        method,
        n_test,
        n_test_documents,
        r2_direct,
        r2_direct_low,
        r2_direct_high,
        r2_composed,
        r2_composed_low,
        r2_composed_high,
        r2_lost,
        r2_lost_low,
        r2_lost_high,
        r2_composed / nullif(r2_direct, 0) as share_kept,
        r2_lost_low > 0 as loses_surely,
        relative_distance
    from compared
)

select * from final
order by collection, source_layer, target_layer, middle_layer, position_policy, method
