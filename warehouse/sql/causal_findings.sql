-- what a study found about replacing residuals: added loss by pair, and transport against the identity on the same sequences
--
-- At the study's average of three sets of positions if it was measured, else at one set, as reports show it. Columns as in findings.
with position_sets as (
    select collection, position_set
    from (select distinct collection, position_set from causal_summary where feature_id is null)
    qualify row_number() over (
        partition by collection order by position_set = 'study' desc, position_set = 'all', position_set
    ) = 1
),

methods as (
    select collection, method
    from (select collection, method, count(*) as n from causal_summary where feature_id is null group by all)
    qualify row_number() over (partition by collection order by method = 'ridge' desc, n desc, method) = 1
),

measured as (
    select c.*
    from causal_summary as c
    semi join position_sets as p on p.collection = c.collection and p.position_set = c.position_set
    semi join methods as m on m.collection = c.collection and m.method = c.method
    where c.feature_id is null
),

costs as (
    select
        collection, 'replacement_cost' as finding, source_layer, target_layer, position_set as subject,
        'added_loss' as measure, delta_log_ppl as value, delta_log_ppl_low as low, delta_log_ppl_high as high,
        n_sequences as n, 'sequences' as unit,
        row_number() over (
            partition by collection order by target_layer desc, source_layer
        ) = 1 as is_headline
    from measured
    where intervention = 'transport'
),

against_identity as (
    select
        collection, 'replacement_cost' as finding, source_layer, target_layer, position_set as subject,
        'less_identity' as measure, difference as value, difference_low as low, difference_high as high,
        n_sequences as n, 'sequences' as unit, false as is_headline
    from measured
    where intervention = 'identity' and difference is not null
),

counted as (
    select
        collection, finding, subject,
        unnest([
            {'measure': 'n_below', 'value': count(*) filter (where high < 0)::double},
            {'measure': 'n_above', 'value': count(*) filter (where low > 0)::double}
        ], recursive := true),
        count(*) as n, 'pairs' as unit, true as is_headline
    from against_identity
    group by collection, finding, subject
),

final as (
    from costs
    union all by name
    from against_identity
    union all by name
    from counted
)

select * from final
order by collection, finding, measure, target_layer, source_layer, subject
