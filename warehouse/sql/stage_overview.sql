-- runs of each stage: keys, rows, bytes, wall and CPU seconds, peak memory and the latest run
with runs as (
    select * from stage_runs
),

final as (
    select
        stage,
        count(*) as n_keys,
        count(distinct collection) as n_collections,
        count(*) filter (where quality = 'failed') as n_failed,
        sum(len(files))::bigint as n_files,
        sum(rows)::bigint as rows,
        sum(bytes)::bigint as bytes,
        sum(tokens_run)::bigint as tokens_run,
        sum(seconds) as seconds,
        sum(cpu_seconds) as cpu_seconds,
        max(peak_memory) as peak_memory,
        max(started_at) as last_started_at,
        arg_max(key, (started_at, key)) as last_key  -- runs of one pass start at once
    from runs
    group by stage
)

select * from final
order by last_started_at, stage
