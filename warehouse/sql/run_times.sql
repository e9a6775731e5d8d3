-- when each result was made: when the latest run with its key began
with final as (
    select collection, key, max(started_at) as made_at
    from stage_runs
    group by collection, key
)

select * from final
order by collection, key
