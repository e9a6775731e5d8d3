-- r2 of one feature in two collections of the same text, documents left out of both at once; each pair in both directions
--
-- Of the latest comparison of the two. difference: right less left, with its 95 % interval by document.
with compared as (
    select f.*, c.n_documents
    from compared_features as f
    inner join latest_comparisons as c using (collection, comparison, sae, source_layer, target_layer)
),

final as (
    select
        collection as left_collection,
        other_collection as right_collection,
        sae,
        feature_id,
        source_layer,
        target_layer,
        method,
        r2 as left_r2,
        r2_low as left_r2_low,
        r2_high as left_r2_high,
        n_active as left_n_active,
        other_r2 as right_r2,
        other_r2_low as right_r2_low,
        other_r2_high as right_r2_high,
        other_n_active as right_n_active,
        difference,
        difference_low,
        difference_high,
        q,
        n_documents
    from compared
    union all
    select
        other_collection,
        collection,
        sae,
        feature_id,
        source_layer,
        target_layer,
        method,
        other_r2,
        other_r2_low,
        other_r2_high,
        other_n_active,
        r2,
        r2_low,
        r2_high,
        n_active,
        -difference,
        -difference_high,
        -difference_low,
        q,
        n_documents
    from compared
)

select * from final
order by left_collection, right_collection, sae, source_layer, target_layer, feature_id
