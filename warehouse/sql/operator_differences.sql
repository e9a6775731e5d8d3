-- mean r2 of features under one operator less that under another, documents left out of both at once; each pair in both directions
--
-- Two operators of one collection from the latest evaluation, or those of two collections of the same text, from the latest
-- comparison. difference: right less left, with its 95 % interval by document.
with within as (
    select
        d.collection as left_collection,
        d.against as left_operator,
        d.collection as right_collection,
        d.operator as right_operator,
        d.sae,
        d.features,
        d.source_layer,
        d.target_layer,
        d.n_features,
        d.n_documents,
        d.difference,
        d.difference_low,
        d.difference_high,
        'evaluate' as stage
    from feature_transport_differences as d
    semi join latest_evaluations as l
        on
            l.kind = 'feature_transport' and l.is_latest and l.collection = d.collection and l.evaluation = d.evaluation
            and l.sae = d.sae and l.operator = d.operator
),

between_collections as (
    select
        collection as left_collection,
        operator as left_operator,
        other_collection as right_collection,
        other_operator as right_operator,
        sae,
        'all' as features,
        source_layer,
        target_layer,
        n_features,
        n_documents,
        mean_difference as difference,
        mean_difference_low as difference_low,
        mean_difference_high as difference_high,
        'compare' as stage
    from latest_comparisons
),

stored as (
    select * from within
    union all
    select * from between_collections
),

final as (
    select * from stored
    union all
    select
        right_collection,
        right_operator,
        left_collection,
        left_operator,
        sae,
        features,
        source_layer,
        target_layer,
        n_features,
        n_documents,
        -difference,
        -difference_high,
        -difference_low,
        stage
    from stored
)

select * from final
order by left_collection, left_operator, right_collection, right_operator, sae, features, stage
