-- transport efficiency of every rank of every pair, with what the rank adds to the one before it on the grid
with ranks as (
    select * from efficiency
),

run_times as (
    select key as evaluation, max(started_at) as evaluated_at
    from stage_runs
    group by key
),

final as (
    select
        r.*,
        rank / d_kept as rank_share,
        ceiling_in_sample - ceiling_held_out as bracket_width,
        ceiling_held_out - lag(ceiling_held_out, 1, 0) over curve as ceiling_gain,
        r2_rrr - lag(r2_rrr, 1, 0) over curve as r2_gain,
        row_number() over (
            partition by r.collection, r.source_layer, r.target_layer, r.rank
            order by t.evaluated_at desc nulls last, r.evaluation
        ) = 1 as is_latest
    from ranks as r
    left join run_times as t using (evaluation)
    window curve as (partition by r.collection, r.evaluation, r.source_layer, r.target_layer order by r.rank)
)

select * from final
order by collection, source_layer, target_layer, evaluation, rank
