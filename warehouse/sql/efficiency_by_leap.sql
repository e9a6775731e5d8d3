-- ceiling, transport and efficiency averaged over the layer pairs of one leap, at the largest rank and over all ranks
with ranks as (
    select e.*
    from efficiency as e
    inner join latest_evaluations as l
        on l.kind = 'efficiency' and l.collection = e.collection and l.evaluation = e.evaluation
        and l.source_layer = e.source_layer and l.target_layer = e.target_layer
        and l.position_policy = e.position_policy
    where l.is_latest
),

spaces as (
    select
        collection,
        evaluation,
        source_layer,
        target_layer,
        lts_dim_participation,
        lts_rank_90,
        lts_rank_95,
        lts_rank_99,
        lts_rank_null
    from subspaces
),

saturation as (
    select
        collection,
        source_layer,
        target_layer,
        position_policy,
        min(rank) filter (where efficiency >= 0.95 * best_efficiency) as saturation_rank
    from (
        select *, max(efficiency) over (partition by collection, source_layer, target_layer, position_policy) as best_efficiency
        from ranks
    )
    group by all
),

per_pair as (
    select
        collection,
        evaluation,
        leap,
        source_layer,
        target_layer,
        position_policy,
        max(rank) as largest_rank,
        arg_max(ceiling_in_sample, rank) as ceiling_in_sample,
        arg_max_null(ceiling_held_out, rank) as ceiling_held_out,
        arg_max_null(ceiling_null, rank) as ceiling_null,
        arg_max_null(r2_rrr, rank) as r2_rrr,
        arg_max_null(efficiency, rank) as efficiency,
        arg_max_null(efficiency_paper, rank) as efficiency_paper,
        max(efficiency) filter (where rank = 64) as efficiency_rank_64,
        max(efficiency_paper) filter (where rank = 64) as efficiency_paper_rank_64,
        avg(efficiency) as grid_efficiency,
        avg(efficiency_paper) as grid_efficiency_paper,
        bool_or(bracket_wide) as bracket_wide,
        bool_or(few_tokens) as few_tokens
    from ranks
    group by all
),

final as (
    select
        p.collection,
        p.position_policy,
        p.leap,
        count(*) as n_pairs,
        avg(p.largest_rank) as mean_largest_rank,
        avg(p.ceiling_in_sample) as mean_ceiling_in_sample,
        avg(p.ceiling_held_out) as mean_ceiling_held_out,
        avg(p.ceiling_null) as mean_ceiling_null,
        avg(p.r2_rrr) as mean_r2_rrr,
        avg(p.efficiency) as mean_efficiency,
        avg(p.efficiency_paper) as mean_efficiency_paper,
        avg(p.efficiency_rank_64) as mean_efficiency_rank_64,
        avg(p.efficiency_paper_rank_64) as mean_efficiency_paper_rank_64,
        avg(p.grid_efficiency) as mean_grid_efficiency,
        avg(p.grid_efficiency_paper) as mean_grid_efficiency_paper,
        avg(u.saturation_rank) as mean_saturation_rank,
        avg(s.lts_dim_participation) as mean_lts_dim_participation,
        avg(s.lts_rank_90) as mean_lts_rank_90,
        avg(s.lts_rank_95) as mean_lts_rank_95,
        avg(s.lts_rank_99) as mean_lts_rank_99,
        avg(s.lts_rank_null) as mean_lts_rank_null,
        count(*) filter (where p.bracket_wide) as n_pairs_bracket_wide,
        count(*) filter (where p.few_tokens) as n_pairs_few_tokens
    from per_pair as p
    left join saturation as u using (collection, source_layer, target_layer, position_policy)
    left join spaces as s using (collection, evaluation, source_layer, target_layer)
    group by p.collection, p.position_policy, p.leap
)

select * from final
order by collection, position_policy, leap
