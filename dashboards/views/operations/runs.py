"""Panels of the page ``operations``: stages, checks, runs and benchmarks."""

from functools import partial

import polars as pl
import streamlit as st

from dashboards.ui.panels import panel
from dashboards.ui.reading import filled
from dashboards.ui.tables import headings, table

COMMON = {
    "bytes": st.column_config.NumberColumn("bytes", format="bytes"),
    "rows": st.column_config.NumberColumn("rows", format="localized"),
    "seconds": st.column_config.NumberColumn("seconds", format="%.1f", help="Wall time of the work, with its checks."),
    "cpu_seconds": st.column_config.NumberColumn("CPU seconds", format="%.1f"),
    "peak_memory": st.column_config.NumberColumn(
        "peak memory", format="bytes", help="The most that the process had held by then, in this stage or before."
    ),
    "batch_seconds": st.column_config.NumberColumn("batch seconds", format="%.1f"),
    "batch_stages": st.column_config.NumberColumn("runs in batch", help="Runs made in one pass, which share its time."),
    "last_started_at": st.column_config.DatetimeColumn("last started", format="distance"),
    "started_at": st.column_config.DatetimeColumn("started", format="distance"),
    "flow_run": st.column_config.LinkColumn("in Prefect", display_text="open"),
}
"""Columns that tables of runs share."""


STAGES = """select case state when 'fresh' then '✓' when 'missing' then '–' else '✗' end || ' ' || state as state, stage, reason,
    n_runs, n_failed, n_replaced, rows, bytes, seconds, cpu_seconds, peak_memory, last_started_at, made_by, flow_run_id,
    sum(seconds) over () as all_seconds, sum(cpu_seconds) over () as all_cpu_seconds, sum(bytes) over () / 1e6 as all_megabytes
from stage_lineage
where collection = $collection
order by place nulls last, stage"""


def stages(collection: str, flow_runs: str | None) -> None:
    """State, size and time of each stage.

    Args:
        collection: its key.
        flow_runs: link to a flow run in the Prefect UI, up to the run's id.
    """
    panel(
        "Stages",
        filled(STAGES, collection=collection),
        partial(_stages, flow_runs=flow_runs),
        note="In pipeline order, then those on demand. A run is one part of a stage, such as one pair of layers; replaced: there is a "
        "later one with other settings. Runs made in one pass share its time evenly, but for "
        "what each took alone: seconds add up to the wall time of the work, and nothing counts twice. Failed: output failed "
        "validation and is hidden. explain stays missing where no explanations were requested.",
    )


def _linked(rows: pl.DataFrame, flow_runs: str | None) -> pl.DataFrame:
    """Rows with links in place of ids of flow runs; not in the statement, since a link may hold a key."""
    link = pl.lit(flow_runs, pl.String) + pl.col("flow_run_id")
    return rows.with_columns(link.alias("flow_run")).drop("flow_run_id")


def _stages(rows: pl.DataFrame, flow_runs: str | None) -> None:
    of_all = rows.row(0, named=True)
    with st.container(horizontal=True):
        for label, name, unit in (
            ("Wall time", "all_seconds", "s"),
            ("CPU time", "all_cpu_seconds", "s"),
            ("Disk", "all_megabytes", "MB"),
        ):
            text = "–" if of_all[name] is None else f"{of_all[name]:,.0f} {unit}"
            st.metric(label, text, width="content")
    st.dataframe(
        _linked(rows.drop("all_seconds", "all_cpu_seconds", "all_megabytes"), flow_runs),
        hide_index=True,
        height="content",
        column_config=COMMON
        | {
            "state": st.column_config.TextColumn("state", pinned=True),
            "n_runs": "runs",
            "reason": st.column_config.TextColumn("reason", width="medium"),
            "made_by": "made by",
            "n_failed": "failed",
            "n_replaced": "replaced",
        },
        placeholder="–",
    )


QUALITY = """select case when bool_and(success) then '✓ passed' else '✗ failed' end as state, stage, table_name, expectation,
    column_name, count(*) as n_runs, sum(n_checked)::bigint as n_checked, sum(n_unexpected)::bigint as n_unexpected,
    max(examples) filter (where not success) as examples, count(*) over () as n_expectations,
    count(*) filter (where not bool_and(success)) over () as n_expectations_failed
from quality_results
where collection = $collection
group by stage, table_name, expectation, column_name
order by bool_and(success), stage, table_name, expectation, column_name
limit 300"""


def quality(collection: str) -> None:
    """Every quality check, failed ones first."""
    panel(
        "Quality",
        filled(QUALITY, collection=collection),
        _quality,
        empty="No checks have run yet.",
        note="Each check, over all runs of its stage. Failed checks come first, with keys of offending rows.",
    )


def _quality(rows: pl.DataFrame) -> None:
    n_failed = int(rows["n_expectations_failed"][0])
    if n_failed:
        st.error(f"{n_failed:,} of {rows['n_expectations'][0]:,} checks failed.")
    else:
        st.success(f"All {rows['n_expectations'][0]:,} checks passed.")
    table(rows.drop("n_expectations", "n_expectations_failed"), {})


RUNS = """select started_at, stage, key, quality, rows, bytes, seconds, cpu_seconds, batch_stages, batch_seconds, peak_memory,
    flow_run_id
from stage_runs
where collection = $collection
order by started_at desc, key
limit 100"""


def latest_runs(collection: str, flow_runs: str | None) -> None:
    """The latest runs; arguments as for ``stages``."""
    panel(
        "Latest runs",
        filled(RUNS, collection=collection),
        partial(_runs, flow_runs=flow_runs),
        note="The 100 most recent.",
    )


def _runs(rows: pl.DataFrame, flow_runs: str | None) -> None:
    table(_linked(rows, flow_runs), COMMON)


BENCHMARKS = """select case when met then '✓ met' else '✗ missed' end as state, benchmark, what, ours, unit, against, ratio, bound,
    target, change, n_runs, measured_at, why_missed
from benchmark_trend
where target is not null
qualify not quick or bool_and(quick) over (partition by benchmark)
order by met, benchmark, what
limit 300"""


def benchmarks() -> None:
    """Benchmark figures against their targets."""
    panel(
        "Benchmarks",
        BENCHMARKS,
        _benchmarks,
        empty="No benchmarks have run: `python -m benchmarks` runs them all.",
        note="Figures with a target, missed ones first. Change: against the previous run on the same machine. Runs at "
        "small sizes are shown only where there are no others.",
    )


def _benchmarks(rows: pl.DataFrame) -> None:
    table(
        rows,
        {
            **headings(["ratio", "target", "ours"], "%.3g"),
            "change": st.column_config.NumberColumn("change", format="percent"),
            "measured_at": st.column_config.DatetimeColumn("measured", format="distance"),
        },
    )
