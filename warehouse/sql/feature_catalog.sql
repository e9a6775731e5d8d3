-- one feature of one SAE: scores, promoted tokens, explanation, verdicts by leap
with stats as (
    select * from feature_stats
),

scores as (
    select * from latest_feature_scores
),

best_explanation as (
    select *
    from explanations
    qualify row_number() over (
        partition by collection, sae, feature_id
        order by aligned desc nulls last, score desc nulls last, source, explanation_id
    ) = 1
),

explanation_counts as (
    select collection, sae, feature_id, count(*) as n_explanations
    from explanations
    group by all
),

chosen_operators as (
    select collection, operator
    from operators
    where method = 'ridge' and position_policy = 'same'
    qualify row_number() over (
        partition by collection, source_layer, target_layer
        order by r2_val desc nulls last, operator
    ) = 1
),

judged as (
    select l.collection, l.evaluation, l.sae, l.operator
    from latest_evaluations as l
    semi join chosen_operators as o on o.collection = l.collection and o.operator = l.operator
    where l.kind = 'feature_transport' and l.is_latest
),

-- Ridge operator at the same position, as in the study; as feature_profile, without a row for each source layer.
carried_by_leap as (
    select
        f.collection,
        f.sae,
        f.feature_id,
        list(f.leap) as leaps,
        list(f.r2) as r2s,
        list(f.verdict) as verdicts,
        max(f.leap) as longest_leap,
        min(f.leap) filter (where f.verdict <> 'transported') as stops_at_leap
    from feature_transport as f
    semi join judged as j
        on j.collection = f.collection and j.evaluation = f.evaluation and j.sae = f.sae and j.operator = f.operator
    where f.method = 'ridge' and f.position_policy = 'same'
    group by f.collection, f.sae, f.feature_id
),

-- Sorting numbers and picking by index takes a third of the time of sorting rows within the aggregate.
carried as (
    select
        collection,
        sae,
        feature_id,
        map(list_sort(leaps), list_select(r2s, list_grade_up(leaps))) as r2_by_leap,
        map(list_sort(leaps), list_select(verdicts, list_grade_up(leaps))) as verdict_by_leap,
        case
            when stops_at_leap is null then longest_leap
            else list_sort(leaps)[list_position(list_sort(leaps), stops_at_leap) - 1]
        end as transported_leap,
        stops_at_leap
    from carried_by_leap
),

identified as (
    select collection, sae, layer, feature_id from stats
    union
    select collection, sae, layer, feature_id from scores
),

final as (
    select
        i.collection,
        i.sae,
        i.layer,
        i.feature_id,
        coalesce(s.selected, false) as selected,
        s.rank,
        s.score,
        s.pre_score,
        s.candidate,
        s.token_entropy,
        s.focus_z,
        s.focus_entropy,
        s.redundancy,
        s.redundant_with,
        s.deadness,
        s.causal_effect,
        s.causal_effect_low,
        s.causal_effect_high,
        s.n_ablated,
        s.n_ablated_documents,
        s.top_tokens,
        s.bottom_tokens,
        t.n_active,
        t.activation_rate,
        t.mean_activation,
        t.max_activation,
        coalesce(n.n_explanations, 0) as n_explanations,
        e.description as explanation,
        e.source as explanation_source,
        e.score as explanation_score,
        e.alignment,
        e.aligned,
        c.r2_by_leap,
        c.verdict_by_leap,
        c.transported_leap,
        c.stops_at_leap
    from identified as i
    left join stats as t using (collection, sae, feature_id)
    left join scores as s using (collection, sae, feature_id)
    left join best_explanation as e using (collection, sae, feature_id)
    left join explanation_counts as n using (collection, sae, feature_id)
    left join carried as c using (collection, sae, feature_id)
)

select * from final
order by collection, layer, sae, rank nulls last, feature_id
