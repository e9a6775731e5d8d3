-- every key of entity sets, labels, latent scores and interventions with its subject; is_latest marks the one that started last
--
-- entity_set and latent_scoring: what it stands on, by the inputs of stage runs; NULL where they do not tell.
-- of_latest_set: false if that is another set than the one labelled last, which entity_knowledge describes.
with run_inputs as (
    select distinct collection, key, unnest(inputs) as input from stage_runs
),

sets as (
    select distinct collection, entity_set from entities
),

-- A part of the answers is made of the set and of the key of all answers.
answered_sets as (
    select distinct of_set.collection, of_answers.input as answering, s.entity_set
    from run_inputs as of_set
    inner join sets as s on s.collection = of_set.collection and s.entity_set = of_set.input
    inner join run_inputs as of_answers on of_answers.collection = of_set.collection and of_answers.key = of_set.key
),

labelled_sets as (
    select distinct l.collection, l.labelling, a.entity_set
    from entity_labels as l
    left join answered_sets as a using (collection, answering)
),

scored_sets as (
    select distinct i.collection, i.key as latent_scoring, l.entity_set
    from run_inputs as i
    inner join labelled_sets as l on l.collection = i.collection and l.labelling = i.input
),

changed_sets as (
    select distinct i.collection, i.key as intervening, s.latent_scoring, s.entity_set
    from run_inputs as i
    inner join scored_sets as s on s.collection = i.collection and s.latent_scoring = i.input
),

made as (
    select
        collection, 'entities' as kind, entity_set as result,
        null::varchar as contrast, null::varchar as template, null::varchar as position, null::varchar as intervention,
        entity_set, null::varchar as latent_scoring
    from sets
    union all
    select collection, 'labels', labelling, null, null, null, null, entity_set, null from labelled_sets
    union all
    select distinct l.collection, 'latents', l.latent_scoring, l.contrast, l.template, l.position, null, s.entity_set, l.latent_scoring
    from entity_latents as l
    left join scored_sets as s using (collection, latent_scoring)
    union all
    select distinct e.collection, 'interventions', e.intervening, null, null, e.position, e.intervention, c.entity_set, c.latent_scoring
    from entity_intervention_effects as e
    left join changed_sets as c using (collection, intervening)
),

ranked as (
    select
        m.*,
        t.made_at,
        row_number() over (
            partition by m.collection, m.kind, m.contrast, m.template, m.position, m.intervention
            order by t.made_at desc nulls last, m.result
        ) = 1 as is_latest
    from made as m
    left join run_times as t on t.collection = m.collection and t.key = m.result
),

final as (
    select
        r.*,
        coalesce(r.entity_set = l.entity_set, true) as of_latest_set
    from ranked as r
    left join ranked as l on l.collection = r.collection and l.kind = 'labels' and l.is_latest
)

select * from final
order by collection, kind, contrast, template, position, intervention, result
