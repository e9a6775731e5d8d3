"""Page ``overview``: what the warehouse holds, how fresh and how sound it is, and where runs and registry are seen."""

import os

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.address import collection
from dashboards.ui.charts import number
from dashboards.ui.panels import panel
from dashboards.ui.reading import filled

HEIGHT = 300
"""Of a picture beside another, in pixels."""
LARGEST = 12
"""So many pieces the picture of the disk has room for."""


def page() -> None:
    """Draw the page."""
    key = collection()
    _links()
    panel(
        "This collection",
        filled(COLLECTION, collection=key),
        _numbers,
        note=(
            "Tokens are kept for statistics unless a rule drops them, for a reason given below; documents are split into "
            "train, val and test."
        ),
    )
    left, right = st.columns(2)
    with left:
        panel(
            "Tokens kept and dropped",
            filled(TOKENS, collection=key),
            _tokens,
            note="Of all tokens that the model read.",
        )
    with right:
        panel(
            "Disk use",
            filled(DISK, collection=key),
            _disk,
            note=(
                f"The {LARGEST} largest, of all files of finished stages; artifacts are weights, moments and operators, which no "
                "table holds."
            ),
        )
    panel(
        "Stages",
        filled(STAGES, collection=key, flow_runs=_flow_runs()),
        _stages,
        note=(
            "In the order of a study. A run is one piece of a stage, such as one pair of layers, and is kept until its settings "
            "change. Failed: a check of what it wrote does not hold, so no table shows its rows. sae_weights stays empty where "
            "SAEs are loaded, explain where nobody asked for explanations."
        ),
    )
    panel(
        "Quality",
        filled(QUALITY, collection=key),
        _quality,
        empty="Nothing has been checked yet.",
        note=("Each expectation, over all runs that checked it; failed ones first, with keys of rows that break it."),
    )
    panel("Latest runs", filled(RUNS, collection=key, flow_runs=_flow_runs()), _runs, note="The last hundred.")
    panel("All collections", COLLECTIONS, _collections, note="The latest first.")
    panel(
        "Benchmarks",
        BENCHMARKS,
        _benchmarks,
        empty="No benchmark has run: `python -m benchmarks` measures all.",
        note="Figures that have a target, missed ones first: change is that of the figure against the run before it on the "
        "same machine. Runs at small sizes are left out where there are others.",
    )


def _links() -> None:
    """Where runs and registry are seen, as far as `ato up` or the environment says it."""
    found = {"Runs in Prefect": _prefect(), "Operators in MLflow": os.environ.get("ATO_MLFLOW_UI")}
    known = {label: address for label, address in found.items() if address}
    if known:
        with st.container(horizontal=True):
            for label, address in known.items():
                st.link_button(label, address, icon=":material/open_in_new:")


def _prefect() -> str | None:
    """Address of Prefect's pages."""
    return os.environ.get("PREFECT_UI_URL") or os.environ.get("PREFECT_API_URL", "").removesuffix("/api") or None


def _flow_runs() -> str | None:
    """What the address of a flow run starts with."""
    return None if (address := _prefect()) is None else f"{address.rstrip('/')}/runs/flow-run/"


def _numbers(rows: pl.DataFrame) -> None:
    row = rows.row(0, named=True)
    st.markdown(
        f"**{row['model']}** ({row['dtype']}) read **{row['corpus']}**; {row['site']} after blocks "
        f"{', '.join(map(str, row['layers']))} of {row['n_layers']}, {row['d_model']} wide. "
        f"The latest stage finished {row['finished_at']:%d %B %Y, %H:%M} UTC."
    )
    with st.container(horizontal=True):
        for label, name in (
            ("Documents", "n_documents"),
            ("Tokens", "n_tokens"),
            ("Tokens kept", "n_kept"),
            ("SAEs", "n_saes"),
            ("Pairs of layers", "n_pairs"),
            ("Operators", "n_operators"),
        ):
            st.metric(label, f"{row[name]:,}", width="content")
    if row["fewer_tokens_than_dimensions"]:
        st.warning("The train split has fewer kept tokens than the residual has dimensions: maps fit it exactly.")


def _tokens(rows: pl.DataFrame) -> None:
    base = alt.Chart(rows).encode(
        x=alt.X("tokens:Q", title="tokens"),
        y=alt.Y("what:N", title=None, sort=None),
        tooltip=[
            alt.Tooltip("what:N", title="tokens"),
            number("tokens", "number", ",d"),
            number("share", "share", ".2%"),
        ],
    )
    # The number stands above the bar's start: a bar may be too short to see, or to hold it.
    chart = base.mark_bar(height=8, yOffset=8) + base.mark_text(align="left", yOffset=-6, color="#808080").encode(
        x=alt.value(2), text=alt.Text("tokens:Q", format=",d")
    )
    st.altair_chart(chart.properties(height=HEIGHT), alt="Tokens kept, and dropped by reason")


def _disk(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows.head(LARGEST))
        .mark_bar()
        .encode(
            x=alt.X("megabytes:Q", title="MB"),
            y=alt.Y("table_name:N", title=None, sort="-x", axis=alt.Axis(labelOverlap=False)),
            color=alt.Color("stage:N", title="written by", legend=alt.Legend(orient="bottom", columns=4)),
            tooltip=[
                alt.Tooltip("table_name:N", title="table"),
                alt.Tooltip("stage:N", title="written by"),
                number("megabytes", "MB", ",.2f"),
                number("n_files", "files", ",d"),
                number("rows", "rows", ",d"),
            ],
        )
    )
    st.altair_chart(chart.properties(height=HEIGHT), alt="Megabytes of each table, by the stage that wrote them")


def _stages(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        height="content",
        column_config=COMMON
        | {
            "state": st.column_config.TextColumn("state", pinned=True),
            "n_runs": "runs",
            "n_failed": "failed",
        },
    )


def _runs(rows: pl.DataFrame) -> None:
    st.dataframe(rows, hide_index=True, height=300, column_config=COMMON)


def _quality(rows: pl.DataFrame) -> None:
    n_failed = int(rows["n_expectations_failed"][0])
    if n_failed:
        st.error(f"{n_failed:,} of {rows['n_expectations'][0]:,} expectations do not hold.")
    else:
        st.success(f"All {rows['n_expectations'][0]:,} expectations hold.")
    st.dataframe(rows.drop("n_expectations", "n_expectations_failed"), hide_index=True, height=300)


def _collections(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        column_config={
            "created_at": st.column_config.DatetimeColumn("created", format="distance"),
            "share_dropped": st.column_config.NumberColumn("dropped", format="percent"),
            "bytes": st.column_config.NumberColumn("bytes", format="bytes"),
            "best_r2_test": st.column_config.NumberColumn("best r2 on test", format="%.3f"),
        },
    )


def _benchmarks(rows: pl.DataFrame) -> None:
    st.dataframe(
        rows,
        hide_index=True,
        height=300,
        column_config={
            "ratio": st.column_config.NumberColumn(format="%.3g"),
            "target": st.column_config.NumberColumn(format="%.3g"),
            "ours": st.column_config.NumberColumn(format="%.3g"),
            "change": st.column_config.NumberColumn("change", format="percent"),
            "measured_at": st.column_config.DatetimeColumn("measured", format="distance"),
        },
    )


COMMON = {
    "bytes": st.column_config.NumberColumn("bytes", format="bytes"),
    "rows": st.column_config.NumberColumn("rows", format="localized"),
    "seconds": st.column_config.NumberColumn("seconds", format="%.1f"),
    "last_started_at": st.column_config.DatetimeColumn("last started", format="distance"),
    "started_at": st.column_config.DatetimeColumn("started", format="distance"),
    "flow_run": st.column_config.LinkColumn("in Prefect", display_text="open"),
}
"""Columns of tables of runs."""
COLLECTION = """select c.model, c.dtype, c.corpus, c.site, c.layers, c.n_layers, c.d_model, o.n_documents, o.n_tokens, o.n_kept,
    o.n_saes, o.n_pairs, o.n_operators, o.fewer_tokens_than_dimensions, r.finished_at
from collections as c
inner join collection_overview as o using (collection)
left join (
    select collection, max(started_at + to_seconds(seconds)) as finished_at from stage_runs group by collection
) as r using (collection)
where collection = $collection"""
TOKENS = """with parts as (
    select 'kept' as what, n_kept as tokens, 0 as place from collections where collection = $collection
    union all
    select replace(reason.key, '_', ' '), reason.value, 1
    from (select unnest(map_entries(dropped_by_reason)) as reason from collections where collection = $collection)
)
select what, tokens, tokens / sum(tokens) over () as share
from parts
order by place, tokens desc"""
DISK = """select file.table_name, stage, count(*) as n_files, sum(file.rows)::bigint as rows, sum(file.bytes) / 1e6 as megabytes
from (select stage, unnest(files) as file from stage_runs where collection = $collection)
group by all
order by megabytes desc, file.table_name, stage"""
STAGES = """with study(place, stage, made_by) as (
    values
        (1, 'collect', 'ato run collect'), (2, 'moments', 'ato run operators'), (3, 'sae_weights', 'ato run saes'),
        (4, 'saes', 'ato run saes'), (5, 'features', 'ato run features'), (6, 'feature_scores', 'ato run features'),
        (7, 'explain', 'ato run explain'), (8, 'operators', 'ato run operators'), (9, 'evaluate', 'ato run evaluate'),
        (10, 'causal', 'ato run causal')
),
runs as (
    select stage, count(*) as n_runs, count(*) filter (where quality = 'failed') as n_failed, sum(rows)::bigint as rows,
        sum(bytes)::bigint as bytes, sum(seconds) as seconds, max(started_at) as last_started_at,
        arg_max(flow_run_id, started_at) as flow_run_id
    from stage_runs
    where collection = $collection
    group by stage
)
select case when n_runs is null then '– not yet run' when n_failed > 0 then '✗ failed' else '✓ complete' end as state,
    stage, n_runs, n_failed, rows, bytes, seconds, last_started_at, made_by, $flow_runs || flow_run_id as flow_run
from study
full join runs using (stage)
order by place nulls last, stage"""
RUNS = """select started_at, stage, key, quality, rows, bytes, seconds, $flow_runs || flow_run_id as flow_run
from stage_runs
where collection = $collection
order by started_at desc, key
limit 100"""
QUALITY = """select case when bool_and(success) then '✓ holds' else '✗ fails' end as state, stage, table_name, expectation,
    column_name, count(*) as n_runs, sum(n_checked)::bigint as n_checked, sum(n_unexpected)::bigint as n_unexpected,
    max(examples) filter (where not success) as examples, count(*) over () as n_expectations,
    count(*) filter (where not bool_and(success)) over () as n_expectations_failed
from quality_results
where collection = $collection
group by stage, table_name, expectation, column_name
order by bool_and(success), stage, table_name, expectation, column_name
limit 300"""
COLLECTIONS = """select collection, model, corpus, layers, n_documents, n_tokens, n_kept, share_dropped, n_saes, n_pairs, n_operators,
    best_r2_test, bytes, created_at
from collection_overview
left join (select collection, sum(bytes)::bigint as bytes from stage_runs group by collection) using (collection)
order by created_at desc
limit 300"""
BENCHMARKS = """select case when met then '✓ met' else '✗ missed' end as state, benchmark, what, ours, unit, against, ratio, bound,
    target, change, n_runs, measured_at, why_missed
from benchmark_trend
where target is not null
qualify not quick or bool_and(quick) over (partition by benchmark)
order by met, benchmark, what
limit 300"""
