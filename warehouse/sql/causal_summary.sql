-- added loss of each intervention, and transport minus it, by set of edited positions; `study` averages the study's three sets
with unedited as (
    select collection, evaluation, source_layer, target_layer, method, avg(log_ppl) as log_ppl_none
    from causal_effects
    where intervention = 'none'
    group by all
),

effects as (
    select e.*, u.log_ppl_none
    from causal_effects as e
    inner join latest_evaluations as l
        on l.kind = 'causal_effects' and l.collection = e.collection and l.evaluation = e.evaluation
        and l.source_layer = e.source_layer and l.target_layer = e.target_layer
        and l.method = e.method and l.part = e.positions
    left join unedited as u
        on u.collection = e.collection and u.evaluation = e.evaluation and u.source_layer = e.source_layer
        and u.target_layer = e.target_layer and u.method = e.method
    where l.is_latest and e.intervention <> 'none'
),

position_sets as (
    select positions as position_set, * from effects
    union all
    select 'study' as position_set, * from effects
    where positions in $study_sets
),

summarised as (
    select
        collection,
        source_layer,
        leap,
        target_layer,
        method,
        intervention,
        position_set,
        feature_id,
        count(distinct positions) as n_sets,
        min(n_sequences) as n_sequences,
        min(n_documents) as n_documents,
        avg(log_ppl_none) as log_ppl_none,
        -- The three sets edit the same sequences: averaging their intervals is conservative.
        avg(log_ppl) as log_ppl,
        avg(log_ppl_low) as log_ppl_low,
        avg(log_ppl_high) as log_ppl_high,
        avg(delta_log_ppl) as delta_log_ppl,
        avg(delta_log_ppl_low) as delta_log_ppl_low,
        avg(delta_log_ppl_high) as delta_log_ppl_high,
        avg(delta_edited_onwards) as delta_edited_onwards,
        avg(delta_edited_onwards_low) as delta_edited_onwards_low,
        avg(delta_edited_onwards_high) as delta_edited_onwards_high,
        avg(kl) as kl,
        avg(kl_low) as kl_low,
        avg(kl_high) as kl_high
    from position_sets
    group by all
    having position_set <> 'study' or count(distinct positions) = 3
),

-- Of an average over three sets that several evaluations measured, the one of the evaluation that started last.
differences as (
    select d.*
    from causal_differences as d
    inner join latest_evaluations as l
        on l.kind = 'causal_effects' and l.collection = d.collection and l.evaluation = d.evaluation
        and l.source_layer = d.source_layer and l.target_layer = d.target_layer and l.method = d.method
        and (
            l.part = d.position_set
            or d.position_set = 'study' and l.part in $study_sets
        )
    where l.is_latest
    qualify row_number() over (
        partition by d.collection, d.source_layer, d.target_layer, d.method, d.rival, d.position_set, d.feature_id
        order by l.evaluated_at desc nulls last, d.evaluation
    ) = 1
),

final as (
    select
        s.*,
        d.difference,
        d.difference_low,
        d.difference_high,
        d.difference_edited_onwards,
        d.difference_edited_onwards_low,
        d.difference_edited_onwards_high,
        d.difference_kl,
        d.difference_kl_low,
        d.difference_kl_high,
        d.p as difference_p,
        d.difference_low > 0 or d.difference_high < 0 as difference_excludes_zero
    from summarised as s
    left join differences as d
        on d.collection = s.collection and d.source_layer = s.source_layer and d.target_layer = s.target_layer
        and d.method = s.method and d.rival = s.intervention and d.position_set = s.position_set
        and d.feature_id is not distinct from s.feature_id
)

select * from final
order by collection, target_layer, source_layer, method, position_set, intervention, feature_id
