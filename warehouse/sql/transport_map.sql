-- how well one operator carries the features of one SAE: averages over the features that could be scored
with features as (
    select * from feature_transport
),

evaluations as (
    select * from latest_evaluations
    where kind = 'feature_transport'
),

selected_features as (
    select s.collection, s.sae, s.feature_id
    from feature_scores as s
    inner join latest_evaluations as l
        on l.kind = 'feature_scores' and l.collection = s.collection and l.evaluation = s.scoring and l.sae = s.sae
    where l.is_latest and s.selected
),

operator_settings as (
    select collection, operator, output_weight, rank from operators
),

per_operator as (
    select
        f.collection,
        f.evaluation,
        f.sae,
        f.source_layer,
        f.leap,
        f.target_layer,
        f.position_policy,
        f.method,
        f.operator,
        bool_and(f.sae_trusted) as sae_trusted,
        count(*) as n_features,
        count(f.r2) as n_features_scored,
        count(*) - count(f.r2) as n_features_not_scored,
        avg(f.r2) as mean_r2,
        -- Ends of the features' own intervals, averaged: at least as wide as the interval of the average.
        avg(f.r2_low) filter (where f.r2 is not null) as mean_r2_low,
        avg(f.r2_high) filter (where f.r2 is not null) as mean_r2_high,
        median(f.r2) as median_r2,
        count(f.r2) filter (where s.feature_id is not null) as n_features_selected,
        avg(f.r2) filter (where s.feature_id is not null) as mean_r2_selected,
        avg(f.r2_low) filter (where f.r2 is not null and s.feature_id is not null) as mean_r2_selected_low,
        avg(f.r2_high) filter (where f.r2 is not null and s.feature_id is not null) as mean_r2_selected_high,
        avg(f.skill) filter (where f.r2 is not null) as mean_skill,
        avg(f.ceiling) filter (where f.r2 is not null) as mean_ceiling,
        count(*) filter (where f.r2 is not null and f.verdict = 'transported') as n_transported,
        count(*) filter (where f.r2 is not null and f.verdict = 'synthesised') as n_synthesised,
        count(*) filter (where f.r2 is not null and f.verdict = 'undetermined') as n_undetermined
    from features as f
    left join selected_features as s
        on s.collection = f.collection and s.sae = f.sae and s.feature_id = f.feature_id
    group by
        f.collection, f.evaluation, f.sae, f.source_layer, f.leap, f.target_layer, f.position_policy, f.method, f.operator
),

final as (
    select
        m.collection,
        m.sae,
        m.sae_trusted,
        m.source_layer,
        m.leap,
        m.target_layer,
        m.method,
        m.position_policy,
        o.output_weight,
        o.rank,
        m.operator,
        m.evaluation,
        e.is_latest,
        m.n_features,
        m.n_features_scored,
        m.n_features_not_scored,
        m.mean_r2,
        m.mean_r2_low,
        m.mean_r2_high,
        m.median_r2,
        m.n_features_selected,
        m.mean_r2_selected,
        m.mean_r2_selected_low,
        m.mean_r2_selected_high,
        m.mean_skill,
        m.mean_ceiling,
        m.n_transported / nullif(m.n_features_scored, 0) as share_transported,
        m.n_synthesised / nullif(m.n_features_scored, 0) as share_synthesised,
        m.n_undetermined / nullif(m.n_features_scored, 0) as share_undetermined
    from per_operator as m
    left join operator_settings as o using (collection, operator)
    inner join evaluations as e using (collection, evaluation, sae, operator, position_policy)
)

select * from final
order by collection, sae, target_layer, source_layer, position_policy, method, operator, evaluation
