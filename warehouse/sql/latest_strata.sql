-- strata of a collection's documents as they were read last; those before are kept in document_strata alone
with readings as (
    select
        collection,
        key as strata,
        row_number() over (partition by collection order by max(started_at) desc, key) as age
    from stage_runs
    where stage = 'strata' and quality = 'passed'
    group by collection, key
),

final as (
    select d.*
    from document_strata as d
    semi join (select collection, strata from readings where age = 1) as r using (collection, strata)
)

select * from final
order by collection, stratum, document
