-- documents, sequences and tokens of each value of each stratum, by split; rare: fewer than 5 documents of the collection
with document_sizes as (
    select
        collection,
        document,
        any_value(split) as split,
        count(*) as n_sequences,
        sum(n_tokens)::bigint as n_tokens
    from sequences
    group by collection, document
),

counted as (
    select
        s.collection,
        s.strata,
        s.stratum,
        s.value,
        s.reason,
        d.split,
        count(*) as n_documents,
        sum(d.n_sequences)::bigint as n_sequences,
        sum(d.n_tokens)::bigint as n_tokens
    from latest_strata as s
    inner join document_sizes as d using (collection, document)
    group by all
),

final as (
    select
        *,
        case
            when value is not null
                then sum(n_documents) over (partition by collection, stratum, value) < 5
        end as rare
    from counted
)

select * from final
order by collection, stratum, value nulls last, reason, split
