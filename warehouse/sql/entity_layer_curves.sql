-- five best train separations of each layer, entity type and direction; maxmin is the best of the worst over types
with scored as (
    select l.*
    from entity_latents as l
    semi join latest_entity_results as r
        on r.kind = 'latents' and r.is_latest and r.collection = l.collection and r.result = l.latent_scoring
        and r.contrast = l.contrast and r.template = l.template and r.position = l.position
),

-- Features that are active on ordinary text too are left out, as in the ranking.
best as (
    select
        collection, latent_scoring, contrast, template, position, layer, entity_type, direction,
        count(*) as n_features,
        -- In the feature's own direction: below 0 for a type in which it fires more in the other class.
        max(if(direction in ('known', 'correct'), 1, -1) * separation, 5) as separations
    from scored
    where separation is not null and coalesce(passes_filter, true)
    group by all
),

final as (
    select
        collection,
        latent_scoring,
        contrast,
        template,
        position,
        layer,
        entity_type,
        direction,
        n_features,
        list_avg(separations) as top5_mean,
        list_min(separations) as top5_min,
        list_max(separations) as top5_max,
        -- A feature's separation over all types is the one nearest to 0 of its types: the study's MaxMin.
        if(entity_type = 'all', list_max(separations), null) as maxmin
    from best
)

select * from final
order by collection, contrast, template, position, direction, entity_type, layer
