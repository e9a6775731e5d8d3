-- one target feature from every source layer, nearest first: how far back it is transported
with chosen_operators as (
    select collection, operator, position_policy
    from operators
    qualify row_number() over (
        partition by collection, source_layer, target_layer, method, position_policy
        order by r2_val desc nulls last, operator
    ) = 1
),

scores as (
    select
        f.collection,
        f.sae,
        f.feature_id,
        f.target_layer,
        f.method,
        o.position_policy,
        f.leap,
        f.source_layer,
        f.operator,
        f.evaluation,
        f.sae_trusted,
        f.n_active,
        f.r2,
        f.r2_low,
        f.r2_high,
        f.ceiling,
        f.ceiling_low,
        f.ceiling_high,
        f.skill,
        f.verdict
    from feature_transport as f
    inner join chosen_operators as o using (collection, operator)
    inner join latest_evaluations as l
        on l.kind = 'feature_transport' and l.collection = f.collection and l.evaluation = f.evaluation
        and l.sae = f.sae and l.operator = f.operator
    where l.is_latest
),

chained as (
    select
        *,
        r2 - lag(r2) over feature as r2_change,
        coalesce(bool_and(verdict = 'transported') over feature, false) as transported_so_far
    from scores
    window feature as (
        partition by collection, sae, feature_id, target_layer, method, position_policy
        order by leap rows between unbounded preceding and current row
    )
),

final as (
    select
        *,
        min(source_layer) filter (where transported_so_far) over whole as transported_from,
        max(leap) filter (where transported_so_far) over whole as transported_leap,
        min(leap) filter (where not transported_so_far) over whole as stops_at_leap,
        arg_min(verdict, leap) filter (where not transported_so_far) over whole as stops_as
    from chained
    window whole as (partition by collection, sae, feature_id, target_layer, method, position_policy)
)

select * from final
order by collection, sae, feature_id, target_layer, method, position_policy, leap
