-- what a study found about transport: numbers of its findings, by leap, target layer and pair, under the operator shown first
--
-- Ridge at the same position is shown if it was fitted, else the method and policy with the most operators; of several SAEs of a
-- layer the trusted one with the most scored features. Columns as in findings.
with shown as (
    select collection, method, position_policy
    from (
        select collection, method, position_policy, count(*) as n_operators from operators
        where method not in $baselines
        group by all
    )
    qualify row_number() over (
        partition by collection
        order by position_policy = 'same' desc, method = 'ridge' desc, n_operators desc, method, position_policy
    ) = 1
),

by_pair as (
    select m.*
    from transport_map as m
    semi join shown as s
        on s.collection = m.collection and s.method = m.method and s.position_policy = m.position_policy
    where m.is_latest and m.mean_r2 is not null
    qualify row_number() over (
        partition by m.collection, m.source_layer, m.target_layer
        order by m.sae_trusted desc, m.n_features_scored desc, m.operator, m.sae
    ) = 1
),

-- The target with the most leaps, the deepest of several, is the one of the sentence.
targets as (
    select collection, target_layer, max(leap) as longest, min(leap) as shortest
    from by_pair
    group by collection, target_layer
    qualify row_number() over (partition by collection order by count(*) desc, target_layer desc) = 1
),

by_leap as (
    select
        p.collection, 'features_by_leap' as finding, p.source_layer, p.target_layer, p.method as subject, 'mean_r2' as measure,
        p.mean_r2 as value, p.mean_r2_low as low, p.mean_r2_high as high, p.n_features_scored as n, 'features' as unit,
        t.target_layer is not null and p.leap in (t.shortest, t.longest) as is_headline
    from by_pair as p
    left join targets as t using (collection, target_layer)
),

thresholds as (
    select
        collection, key as evaluation,
        any_value((settings::json ->> 'transported_above')::double) as transported_above,
        any_value((settings::json ->> 'computed_below')::double) as computed_below
    from stage_runs
    where stage = 'evaluate'
    group by collection, key
),

-- Of each target layer the longest leap.
farthest as (
    select *
    from by_pair
    qualify row_number() over (partition by collection, target_layer order by leap desc) = 1
),

verdicts as (
    select
        f.collection, 'feature_verdicts' as finding, f.source_layer, f.target_layer, f.method as subject,
        unnest([
            {
                'measure': 'share_transported', 'value': f.share_transported, 'low': f.share_transported_low,
                'high': f.share_transported_high, 'threshold': t.transported_above
            },
            {
                'measure': 'share_computed', 'value': f.share_computed, 'low': f.share_computed_low,
                'high': f.share_computed_high, 'threshold': t.computed_below
            },
            {
                'measure': 'share_undetermined', 'value': f.share_undetermined, 'low': f.share_undetermined_low,
                'high': f.share_undetermined_high, 'threshold': null
            }
        ], recursive := true),
        f.n_features_scored as n, 'features' as unit,
        f.target_layer = max(f.target_layer) over (partition by f.collection) as is_headline
    from farthest as f
    left join thresholds as t using (collection, evaluation)
),

over_identity as (
    select
        d.collection, 'features_over_identity' as finding, d.source_layer, d.target_layer, d.method as subject,
        'difference' as measure, d.difference as value, d.difference_low as low, d.difference_high as high,
        d.n_features as n, 'features' as unit
    from feature_transport_differences as d
    semi join by_pair as p
        on p.collection = d.collection and p.evaluation = d.evaluation and p.sae = d.sae and p.operator = d.operator
    where d.against_method = 'identity' and d.features = 'all' and d.difference is not null
),

skills as (
    select
        o.collection, 'residuals_over_identity' as finding, o.source_layer, o.target_layer, o.method as subject,
        'skill' as measure, o.skill as value, o.skill_low as low, o.skill_high as high, o.n_test as n, 'tokens' as unit
    from operators as o
    semi join shown as s
        on s.collection = o.collection and s.method = o.method and s.position_policy = o.position_policy
    where o.skill is not null
    qualify row_number() over (
        partition by o.collection, o.source_layer, o.target_layer order by o.r2_val desc nulls last, o.operator
    ) = 1
),

composed as (
    select
        c.collection, 'direct_or_composed' as finding, c.source_layer, c.target_layer, 'over ' || c.middle_layer as subject,
        'r2_lost' as measure, c.r2_lost as value, c.r2_lost_low as low, c.r2_lost_high as high, c.n_test as n, 'tokens' as unit
    from composition_overview as c
    semi join shown as s
        on s.collection = c.collection and s.method = c.method and s.position_policy = c.position_policy
    where c.r2_lost is not null
),

-- The sentence names the largest and the smallest; how many intervals exclude 0 is a count of its own.
pairs as (
    select *, value = max(value) over own or value = min(value) over own as is_headline
    from (from over_identity union all by name from skills union all by name from composed)
    window own as (partition by collection, finding)
),

counted as (
    select
        collection, finding, any_value(subject) as subject,
        unnest([
            {'measure': 'n_above', 'value': count(*) filter (where low > 0)::double},
            {'measure': 'n_below', 'value': count(*) filter (where high < 0)::double}
        ], recursive := true),
        count(*) as n, 'pairs' as unit, true as is_headline
    from pairs
    group by collection, finding
),

final as (
    from by_leap
    union all by name
    from verdicts
    union all by name
    from pairs
    union all by name
    from counted
)

select * from final
order by collection, finding, measure, target_layer, source_layer, subject
