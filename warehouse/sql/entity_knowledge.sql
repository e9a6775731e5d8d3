-- one entity of the most recently labelled set, with its label; of the set made last, with label NULL, where none is labelled
with latest as (
    select collection, result as labelling, entity_set
    from latest_entity_results
    where kind = 'labels' and is_latest and entity_set is not null
),

-- Entities of other sets have ids in common with these, but other answers: a label is never joined across sets.
shown as (
    select collection, labelling, entity_set from latest
    union all
    select r.collection, null, r.result
    from latest_entity_results as r
    anti join latest using (collection)
    where r.kind = 'entities' and r.is_latest
),

final as (
    select
        e.collection,
        e.entity_id,
        e.entity_type,
        e.name,
        e.invented,
        e.split,
        e.popularity,
        e.n_tokens,
        e.n_characters,
        e.token_frequency,
        l.label,
        l.n_asked,
        l.n_right,
        l.share_correct,
        l.share_abstain,
        l.confidence,
        l.rule,
        e.source,
        e.entity_set,
        s.labelling,
        l.answering
    from entities as e
    inner join shown as s using (collection, entity_set)
    left join entity_labels as l
        on l.collection = e.collection and l.labelling = s.labelling and l.entity_id = e.entity_id
)

select * from final
order by collection, entity_type, label, name, entity_id
