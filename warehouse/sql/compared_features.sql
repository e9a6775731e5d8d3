-- one row a feature, pair of layers and other model, of the latest comparisons, with what the feature promotes
with latest as (
    select collection, comparison, place, sae, source_layer, target_layer from latest_comparisons
)

select
    f.collection,
    f.comparison,
    latest.place,
    f.other_collection,
    f.other_model,
    f.sae,
    f.source_layer,
    f.leap,
    f.target_layer,
    f.method,
    f.feature_id,
    f.n_active,
    f.other_n_active,
    f.r2,
    f.r2_low,
    f.r2_high,
    f.other_r2,
    f.other_r2_low,
    f.other_r2_high,
    f.difference,
    f.difference_low,
    f.difference_high,
    f.q,
    f.changed,
    f.r2_transferred,
    f.loss,
    f.loss_low,
    f.loss_high,
    f.verdict,
    f.other_verdict,
    s.top_tokens
from feature_comparisons as f
inner join latest using (collection, comparison, sae, source_layer, target_layer)
left join latest_feature_scores as s using (collection, sae, feature_id)
order by f.collection, latest.place, f.comparison, f.sae, f.source_layer, f.target_layer, f.feature_id
