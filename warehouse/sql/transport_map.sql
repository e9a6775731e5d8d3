-- how well one operator carries the features of one SAE: averages over the features that could be scored
with features as (
    select * from feature_transport
),

run_times as (
    select key as evaluation, max(started_at) as evaluated_at
    from stage_runs
    group by key
),

operator_settings as (
    select collection, operator, position_policy, output_weight, rank from operators
),

per_operator as (
    select
        collection,
        evaluation,
        sae,
        source_layer,
        leap,
        target_layer,
        method,
        operator,
        bool_and(sae_trusted) as sae_trusted,
        count(*) as n_features,
        count(r2) as n_features_scored,
        count(*) - count(r2) as n_features_not_scored,
        avg(r2) as mean_r2,
        median(r2) as median_r2,
        avg(skill) filter (where r2 is not null) as mean_skill,
        avg(ceiling) filter (where r2 is not null) as mean_ceiling,
        count(*) filter (where r2 is not null and verdict = 'transported') as n_transported,
        count(*) filter (where r2 is not null and verdict = 'synthesised') as n_synthesised,
        count(*) filter (where r2 is not null and verdict = 'undetermined') as n_undetermined
    from features
    group by all
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
        o.position_policy,
        o.output_weight,
        o.rank,
        m.operator,
        m.evaluation,
        row_number() over (
            partition by m.collection, m.sae, m.operator
            order by t.evaluated_at desc nulls last, m.evaluation
        ) = 1 as is_latest,
        m.n_features,
        m.n_features_scored,
        m.n_features_not_scored,
        m.mean_r2,
        m.median_r2,
        m.mean_skill,
        m.mean_ceiling,
        m.n_transported / nullif(m.n_features_scored, 0) as share_transported,
        m.n_synthesised / nullif(m.n_features_scored, 0) as share_synthesised,
        m.n_undetermined / nullif(m.n_features_scored, 0) as share_undetermined
    from per_operator as m
    left join operator_settings as o using (collection, operator)
    left join run_times as t using (evaluation)
)

select * from final
order by collection, sae, target_layer, source_layer, method, operator, evaluation
