-- transport efficiency of each layer pair by rank: bracket, permutation null and published estimate
with ranks as (
    select * from efficiency
),

evaluations as (
    select * from latest_evaluations
    where kind = 'efficiency'
),

final as (
    select
        r.*,
        rank / d_kept as rank_share,
        ceiling_in_sample - ceiling_held_out as bracket_width,
        -- The two ends of the bracket: the held-out ceiling and the optimistic in-sample one.
        r2_rrr / nullif(ceiling_in_sample, 0) as efficiency_against_in_sample,
        ceiling_in_sample - ceiling_null as ceiling_above_null,
        ceiling_held_out - lag(ceiling_held_out, 1, 0) over curve as ceiling_gain,
        r2_rrr - lag(r2_rrr, 1, 0) over curve as r2_gain,
        e.is_latest
    from ranks as r
    inner join evaluations as e using (collection, evaluation, source_layer, target_layer, position_policy)
    window curve as (
        partition by r.collection, r.evaluation, r.source_layer, r.target_layer, r.position_policy order by r.rank
    )
)

select * from final
order by collection, source_layer, target_layer, position_policy, evaluation, rank
