-- how often two views of a feature's fate agree, over the features on which both have decided: Cohen's kappa
--
-- A row for each pair of layers, and one for all pairs (layers NULL). 0 is what chance gives at these shares, 1 agreement
-- throughout; NULL where one view says the same of all. Limits (95 %) are those of the large sample, with distinct features
-- as its units.
with fates as (
    select * from feature_fate
),

said as (
    select
        collection,
        sae,
        target_layer,
        source_layer,
        feature_id,
        unnest([
            {'place': 1, 'view': 'ridge', 'verdict': verdict_ridge},
            {'place': 2, 'view': 'identity', 'verdict': verdict_identity},
            {'place': 3, 'view': 'jacobian', 'verdict': verdict_jacobian},
            {'place': 4, 'view': 'decoder', 'verdict': verdict_decoder},
            {'place': 5, 'view': 'pathway', 'verdict': verdict_pathway},
            {'place': 6, 'view': 'causal', 'verdict': verdict_causal}
        ], recursive := true)
    from fates
),

decided as (
    select * from said
    where verdict <> 'undetermined'
),

counted as (
    select
        a.collection,
        a.target_layer,
        a.source_layer,
        a.view,
        b.view as against,
        a.place,
        b.place as against_place,
        count(*) as n,
        count(distinct a.sae || ' ' || a.feature_id) as n_features,
        count(*) filter (where a.verdict = 'transported' and b.verdict = 'transported') as both_transported,
        count(*) filter (where a.verdict = 'transported' and b.verdict = 'computed') as first_only,
        count(*) filter (where a.verdict = 'computed' and b.verdict = 'transported') as second_only,
        count(*) filter (where a.verdict = 'computed' and b.verdict = 'computed') as neither
    from decided as a
    inner join decided as b
        on
            b.collection = a.collection and b.sae = a.sae and b.source_layer = a.source_layer
            and b.feature_id = a.feature_id and b.place > a.place
    group by grouping sets (
        (a.collection, a.target_layer, a.source_layer, a.view, b.view, a.place, b.place),
        (a.collection, a.view, b.view, a.place, b.place)
    )
),

shared as (
    select
        *,
        (both_transported + neither) / n as agreed,
        (both_transported + first_only) / n as share_first,
        (both_transported + second_only) / n as share_second,
        share_first * share_second + (1 - share_first) * (1 - share_second) as by_chance
    from counted
),

final as (
    select
        collection,
        target_layer,
        source_layer,
        view,
        against,
        n,
        n_features,
        both_transported,
        first_only,
        second_only,
        neither,
        agreed,
        by_chance,
        (agreed - by_chance) / nullif(1 - by_chance, 0) as kappa,
        greatest(kappa - 1.96 * sqrt(agreed * (1 - agreed) / n_features) / nullif(1 - by_chance, 0), -1) as kappa_low,
        least(kappa + 1.96 * sqrt(agreed * (1 - agreed) / n_features) / nullif(1 - by_chance, 0), 1) as kappa_high,
        place,
        against_place
    from shared
)

select * from final
order by collection, target_layer nulls first, source_layer, place, against_place
