-- transport of the features of one SAE by one operator, averaged over the scored features
with evaluations as (
    select * from latest_evaluations
    where kind = 'feature_transport'
),

selected_features as (
    select collection, sae, feature_id
    from latest_feature_scores
    where selected
),

operator_settings as (
    select collection, operator, output_weight, rank from operators
),

-- Group by keys alone and treat selected features apart: more joins or hashes per feature would dominate the time.
per_operator as (
    select
        collection,
        evaluation,
        sae,
        operator,
        bool_and(sae_trusted) as sae_trusted,
        count(*) as n_features,
        count(r2) as n_features_scored,
        count(*) - count(r2) as n_features_not_scored,
        avg(r2) as mean_r2,
        median(r2) as median_r2,
        avg(skill) filter (where r2 is not null) as mean_skill,
        -- On the tokens of r2, of those scored features that have one.
        avg(ceiling) filter (where r2 is not null) as mean_ceiling,
        count(*) filter (where r2 is not null and verdict = 'transported') as n_transported,
        count(*) filter (where r2 is not null and verdict = 'computed') as n_computed,
        count(*) filter (where r2 is not null and verdict = 'undetermined') as n_undetermined,
        -- q of the least certain one: the share of them all that is expected to be wrong.
        max(q_transported) filter (where verdict = 'transported') as expected_wrong_transported,
        max(q_computed) filter (where verdict = 'computed') as expected_wrong_computed
    from feature_transport
    group by collection, evaluation, sae, operator
),

per_operator_selected as (
    select
        f.collection,
        f.evaluation,
        f.sae,
        f.operator,
        count(*) as n_features_selected,
        avg(f.r2) as mean_r2_selected
    from feature_transport as f
    semi join selected_features as s
        on s.collection = f.collection and s.sae = f.sae and s.feature_id = f.feature_id
    where f.r2 is not null
    group by f.collection, f.evaluation, f.sae, f.operator
),

averages as (
    select
        collection,
        evaluation,
        sae,
        operator,
        features,
        max(n_features) as n_features,
        max(value) filter (where statistic = 'mean_r2') as mean_r2,
        max(value_low) filter (where statistic = 'mean_r2') as mean_r2_low,
        max(value_high) filter (where statistic = 'mean_r2') as mean_r2_high,
        max(value_low) filter (where statistic = 'share_transported') as share_transported_low,
        max(value_high) filter (where statistic = 'share_transported') as share_transported_high,
        max(value_low) filter (where statistic = 'share_computed') as share_computed_low,
        max(value_high) filter (where statistic = 'share_computed') as share_computed_high,
        max(value_low) filter (where statistic = 'share_undetermined') as share_undetermined_low,
        max(value_high) filter (where statistic = 'share_undetermined') as share_undetermined_high
    from feature_transport_averages
    group by collection, evaluation, sae, operator, features
),

final as (
    select
        m.collection,
        m.sae,
        m.sae_trusted,
        e.source_layer,
        e.target_layer - e.source_layer as leap,
        e.target_layer,
        e.method,
        e.position_policy,
        o.output_weight,
        o.rank,
        m.operator,
        m.evaluation,
        e.is_latest,
        m.n_features,
        m.n_features_scored,
        m.n_features_not_scored,
        m.mean_r2,
        a.mean_r2_low,
        a.mean_r2_high,
        m.median_r2,
        coalesce(s.n_features_selected, 0) as n_features_selected,
        s.mean_r2_selected,
        b.mean_r2_low as mean_r2_selected_low,
        b.mean_r2_high as mean_r2_selected_high,
        m.mean_skill,
        m.mean_ceiling,
        m.n_transported / nullif(m.n_features_scored, 0) as share_transported,
        m.n_computed / nullif(m.n_features_scored, 0) as share_computed,
        m.n_undetermined / nullif(m.n_features_scored, 0) as share_undetermined,
        a.share_transported_low,
        a.share_transported_high,
        a.share_computed_low,
        a.share_computed_high,
        a.share_undetermined_low,
        a.share_undetermined_high,
        m.expected_wrong_transported,
        m.expected_wrong_computed
    from per_operator as m
    left join operator_settings as o using (collection, operator)
    left join per_operator_selected as s using (collection, evaluation, sae, operator)
    left join averages as a
        on
            a.collection = m.collection and a.evaluation = m.evaluation and a.sae = m.sae and a.operator = m.operator
            and a.features = 'all' and a.n_features = m.n_features_scored
    -- Limits belong to the average over the same features: those selected since have none.
    left join averages as b
        on
            b.collection = m.collection and b.evaluation = m.evaluation and b.sae = m.sae and b.operator = m.operator
            and b.features = 'selected'
            and b.n_features = s.n_features_selected and abs(b.mean_r2 - s.mean_r2_selected) < 1e-6
    inner join evaluations as e using (collection, evaluation, sae, operator)
)

select * from final
order by collection, sae, target_layer, source_layer, position_policy, method, operator, evaluation
