-- one benchmark figure on one machine: the latest run, the previous run and the first run
with figures as (
    select
        *,
        -- Package versions are ignored: an upgrade does not make another machine.
        concat_ws(', ', machine ->> 'cpu', (machine ->> 'cores') || ' cores', machine ->> 'gpu') as hardware,
        case when ratio is null then ours else ratio end as figure
    from benchmark_results
),

ordered as (
    select
        *,
        row_number() over newest_first as place,
        count(*) over whole as n_runs,
        lead(figure) over newest_first as figure_before,
        lead(measured_at) over newest_first as measured_before,
        last_value(figure) over all_of_them as figure_first,
        last_value(measured_at) over all_of_them as measured_first
    from figures
    window
        whole as (partition by benchmark, what, unit, against, quick, hardware),
        newest_first as (
            partition by benchmark, what, unit, against, quick, hardware
            order by measured_at desc, run
        ),
        all_of_them as (
            partition by benchmark, what, unit, against, quick, hardware
            order by measured_at desc, run
            rows between unbounded preceding and unbounded following
        )
),

final as (
    select
        benchmark,
        what,
        unit,
        against,
        quick,
        hardware,
        n_runs,
        measured_at,
        ours,
        reference,
        ratio,
        target,
        bound,
        met,
        why_missed,
        measured_before,
        figure_before,
        figure / nullif(figure_before, 0) - 1 as change,
        measured_first,
        figure_first,
        figure / nullif(figure_first, 0) - 1 as change_since_first
    from ordered
    where place = 1
)

select * from final
order by benchmark, quick, hardware, what, unit, against
