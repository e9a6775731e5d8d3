-- how many documents, equal to the byte, two collections have in common; a collection and itself too, each pair in both directions
with documents as (
    select distinct collection, document_id
    from sequences
),

known as (
    select distinct collection
    from documents
),

pairs as (
    select l.collection as left_collection, r.collection as right_collection, 0 as n
    from known as l
    cross join known as r
    union all
    select l.collection, r.collection, 1
    from documents as l
    inner join documents as r using (document_id)
),

final as (
    select left_collection, right_collection, sum(n)::bigint as n_documents
    from pairs
    group by left_collection, right_collection
)

select * from final
order by left_collection, right_collection
