-- one entity with what the latest labelling says of it; label is NULL where that labelling has not asked about it
with labels as (
    select l.*
    from entity_labels as l
    semi join latest_entity_results as r
        on r.kind = 'labels' and r.is_latest and r.collection = l.collection and r.result = l.labelling
),

-- Several sets may hold an entity: the one made last describes it.
described as (
    select e.*
    from entities as e
    inner join latest_entity_results as r
        on r.kind = 'entities' and r.collection = e.collection and r.result = e.entity_set
    qualify row_number() over (
        partition by e.collection, e.entity_id
        order by r.made_at desc nulls last, e.entity_set
    ) = 1
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
        l.labelling,
        l.answering
    from described as e
    left join labels as l using (collection, entity_id)
)

select * from final
order by collection, entity_type, label, name, entity_id
