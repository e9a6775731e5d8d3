-- one row a comparison, pair of layers and SAE, of the latest comparison of the two collections
--
-- place: of the other model among those that this collection is compared with, from 0: by the numbers in its name, so that
-- checkpoints stand in the order of their steps whatever was compared first. share_changed: features whose r2 changed, of those scored in both models.
with latest as (
    select c.*, t.made_at as compared_at
    from comparisons as c
    left join run_times as t on t.collection = c.collection and t.key = c.comparison
    qualify dense_rank() over (
        partition by c.collection, c.other_collection
        order by t.made_at desc nulls last, c.comparison
    ) = 1
),

placed as (
    select
        *,
        dense_rank() over (
            partition by collection
            order by
                list_transform(regexp_extract_all(other_model, '\d+'), lambda digits: try_cast(digits as hugeint)),
                other_model,
                other_collection
        ) - 1 as place
    from latest
)

select
    collection,
    comparison,
    place,
    other_collection,
    other_model,
    sae,
    source_layer,
    leap,
    target_layer,
    position_policy,
    method,
    operator,
    other_operator,
    n_features,
    n_documents,
    n_changed,
    n_changed / nullif(n_features, 0) as share_changed,
    n_verdicts_changed,
    mean_difference,
    mean_difference_low,
    mean_difference_high,
    mean_loss,
    mean_loss_low,
    mean_loss_high,
    relative_distance,
    compared_at
from placed
order by collection, place, comparison, sae, source_layer, target_layer
