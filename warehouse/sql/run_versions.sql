-- every run under the stage that it belongs to; stands marks the latest of its name, whose inputs have the same names
--
-- A name is a key without its hash: other settings give other hashes. part: the stage under whose name the run was committed; what
-- two stages commit, such as strata, stands for itself.
with registered (place, stage, reads, commits, made_by) as (
    values
        $stages
),

owners as (
    select part, any_value(stage) as stage
    from (select unnest(commits) as part, stage from registered)
    group by part
    having count(*) = 1
),

final as (
    select
        r.collection,
        coalesce(o.stage, r.stage) as stage,
        r.stage as part,
        r.key,
        r.inputs,
        r.started_at,
        row_number() over (
            partition by
                r.collection, r.stage, list_transform(list_prepend(r.key, r.inputs), lambda k: regexp_replace(k, '-[0-9a-f]{8}$', ''))
            order by r.started_at desc, r.key
        ) = 1 as stands,
        r.quality,
        r.flow_run_id,
        r.rows,
        r.bytes,
        r.seconds,
        r.cpu_seconds,
        r.peak_memory
    from stage_runs as r
    left join owners as o on o.part = r.stage
)

select * from final
order by collection, stage, part, started_at, key
