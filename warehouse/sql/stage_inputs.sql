-- what each stage reads: how many of its standing runs read another stage, and how many of them read what has been made anew since
--
-- run_versions says which runs stand. n_runs is 0 where a stage is declared to read another and no run has yet. The report reads
-- every stage.
with registered (place, stage, reads, commits, made_by) as (
    values
        $stages
),

reading as (
    select collection, stage, key, started_at, unnest(inputs) as input
    from run_versions
    where stands
),

reads as (
    select
        r.collection, r.stage, i.stage as input, r.key,
        not i.stands as replaced, i.started_at > r.started_at as made_again
    from reading as r
    inner join run_versions as i on i.collection = r.collection and i.key = r.input
    where r.stage <> 'report'
    union all
    select r.collection, r.stage, i.stage, r.key, false, i.started_at > r.started_at
    from run_versions as r
    inner join run_versions as i on i.collection = r.collection and i.stage <> 'report'
    where r.stage = 'report' and r.stands
),

observed as (
    select
        collection,
        stage,
        input,
        count(distinct key) as n_runs,
        count(distinct key) filter (where replaced) as n_replaced,
        count(distinct key) filter (where made_again) as n_made_again
    from reads
    where stage <> input
    group by collection, stage, input
),

declared as (
    select distinct c.collection, r.stage, unnest(r.reads) as input
    from collections as c
    cross join registered as r
),

final as (
    select
        collection,
        stage,
        input,
        coalesce(o.n_runs, 0) as n_runs,
        coalesce(o.n_replaced, 0) as n_replaced,
        coalesce(o.n_made_again, 0) as n_made_again
    from declared
    full join observed as o using (collection, stage, input)
)

select * from final
order by collection, stage, input
