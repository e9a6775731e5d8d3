-- each stage of a collection: fresh, stale, failed or missing, why, the command that makes it, and what it took
--
-- stale: a standing run (see run_versions) reads what has been made again, or with other settings, since; or the stage reads one that
-- is stale. failed: what a standing run wrote did not pass its checks and is hidden. n_replaced: runs of whose name a later one
-- stands. seconds: wall time, in which runs that shared a pass have their shares, so that nothing counts twice; NULL cost: unknown.
with recursive registered (place, stage, reads, commits, made_by) as (
    values
        $stages
),

made as (
    select
        collection,
        stage,
        count(*) filter (where stands) as n_runs,
        count(*) filter (where not stands) as n_replaced,
        count(*) filter (where stands and quality = 'failed') as n_failed,
        max(started_at) as last_started_at,
        arg_max(flow_run_id, started_at) as flow_run_id,
        sum(rows)::bigint as rows,
        sum(bytes)::bigint as bytes,
        sum(seconds) as seconds,
        sum(cpu_seconds) as cpu_seconds,
        max(peak_memory) as peak_memory
    from run_versions
    group by collection, stage
),

outdated as (
    select
        collection,
        stage,
        string_agg(input, ', ' order by input) filter (where n_replaced > 0) as replaced,
        string_agg(input, ', ' order by input) filter (where n_made_again > 0) as made_again
    from stage_inputs
    where n_replaced > 0 or n_made_again > 0
    group by collection, stage
),

-- What reads a stale stage is stale, however far above.
stale as (
    select collection, stage, stage as origin from outdated
    union
    select i.collection, i.stage, s.origin
    from stale as s
    inner join stage_inputs as i on i.collection = s.collection and i.input = s.stage
    where i.n_runs > 0 and i.stage <> s.origin
),

above as (
    select s.collection, s.stage, string_agg(distinct s.origin, ', ' order by s.origin) as origins
    from stale as s
    where s.stage <> s.origin
    group by s.collection, s.stage
),

named as (
    select distinct c.collection, r.place, r.stage, r.made_by
    from collections as c
    cross join registered as r
),

final as (
    select
        collection,
        n.place,
        stage,
        case
            when m.n_runs is null then 'missing'
            when m.n_failed > 0 then 'failed'
            when o.stage is not null or a.stage is not null then 'stale'
            else 'fresh'
        end as state,
        case
            when m.n_runs is null then 'not made yet'
            when m.n_failed > 0 then m.n_failed || ' of ' || m.n_runs || ' runs failed their checks'
            else nullif(concat_ws('; ',
                'made with other settings since: ' || o.replaced,
                'made after it: ' || o.made_again,
                'reads what is stale: ' || a.origins
            ), '')
        end as reason,
        n.made_by,
        coalesce(m.n_runs, 0) as n_runs,
        coalesce(m.n_replaced, 0) as n_replaced,
        coalesce(m.n_failed, 0) as n_failed,
        m.last_started_at,
        m.flow_run_id,
        m.rows,
        m.bytes,
        m.seconds,
        m.cpu_seconds,
        m.peak_memory
    from named as n
    full join made as m using (collection, stage)
    left join outdated as o using (collection, stage)
    left join above as a using (collection, stage)
)

select * from final
order by collection, place nulls last, stage
