-- every key of entity sets, labels, latent scores and interventions with its subject; is_latest marks the one that started last
with run_times as (
    select collection, key as result, max(started_at) as made_at
    from stage_runs
    group by collection, key
),

made as (
    select distinct
        collection, 'entities' as kind, entity_set as result,
        null::varchar as contrast, null::varchar as template, null::varchar as position, null::varchar as intervention
    from entities
    union all
    select distinct collection, 'labels', labelling, null, null, null, null from entity_labels
    union all
    select distinct collection, 'latents', latent_scoring, contrast, template, position, null from entity_latents
    union all
    select distinct collection, 'interventions', intervening, null, null, position, intervention
    from entity_intervention_effects
),

final as (
    select
        m.*,
        t.made_at,
        row_number() over (
            partition by m.collection, m.kind, m.contrast, m.template, m.position, m.intervention
            order by t.made_at desc nulls last, m.result
        ) = 1 as is_latest
    from made as m
    left join run_times as t using (collection, result)
)

select * from final
order by collection, kind, contrast, template, position, intervention, result
