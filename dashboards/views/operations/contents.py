"""Panels of the page ``operations``: what a collection holds, its disk use, and all collections."""

import altair as alt
import polars as pl
import streamlit as st

from dashboards.ui.charts import number
from dashboards.ui.compare_link import compare_two
from dashboards.ui.drawing import draw_chart
from dashboards.ui.panels import panel
from dashboards.ui.plain import plain
from dashboards.ui.reading import filled
from dashboards.ui.tables import headings

HEIGHT = 300
"""Height of a chart, in pixels."""
LARGEST = 12
"""Tables shown in the chart of disk use."""


COLLECTION = """select c.model, c.dtype, c.corpus, c.site, c.layers, c.n_layers, c.d_model, o.n_documents, o.n_tokens, o.n_kept,
    o.n_saes, o.n_pairs, o.n_operators, o.fewer_tokens_than_dimensions, c.warnings, r.finished_at
from collections as c
inner join collection_overview as o using (collection)
left join (
    select collection, max(started_at + to_seconds(coalesce(batch_seconds, seconds))) as finished_at
    from stage_runs
    group by collection
) as r using (collection)
where collection = $collection"""


def this_collection(collection: str) -> None:
    """Model, corpus and counts of the collection."""
    panel(
        "This collection",
        filled(COLLECTION, collection=collection),
        _numbers,
        note="Tokens are kept for statistics unless an exclusion rule drops them (see below). Documents are split into "
        "train, val and test.",
    )


def _numbers(rows: pl.DataFrame) -> None:
    row = rows.row(0, named=True)
    st.markdown(
        f"**{plain(row['model'])}** ({row['dtype']}) on **{plain(row['corpus'])}**; {row['site']} at blocks "
        f"{', '.join(map(str, row['layers']))} of {row['n_layers']}, d_model {row['d_model']}. "
        f"Last stage finished {row['finished_at']:%d %B %Y, %H:%M} UTC."
    )
    with st.container(horizontal=True):
        for label, name in (
            ("Documents", "n_documents"),
            ("Tokens", "n_tokens"),
            ("Tokens kept", "n_kept"),
            ("SAEs", "n_saes"),
            ("Layer pairs", "n_pairs"),
            ("Operators", "n_operators"),
        ):
            st.metric(label, f"{row[name]:,}", width="content")
    if row["fewer_tokens_than_dimensions"]:
        st.warning("The train split has fewer kept tokens than d_model: maps fit it exactly.")
    for warning in row["warnings"] or []:
        st.warning(plain(warning))


TOKENS = """with parts as (
    select 'kept' as what, n_kept as tokens, 0 as place from collections where collection = $collection
    union all
    select replace(reason.key, '_', ' '), reason.value, 1
    from (select unnest(map_entries(dropped_by_reason)) as reason from collections where collection = $collection)
)
select what, tokens, tokens / sum(tokens) over () as share
from parts
order by place, tokens desc"""


def tokens(collection: str) -> None:
    """Tokens kept, and dropped by reason."""
    panel(
        "Tokens kept and dropped",
        filled(TOKENS, collection=collection),
        _tokens,
        note="Of all tokens run through the model.",
    )


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
        x=alt.XValue(2), text=alt.Text("tokens:Q", format=",d")
    )
    draw_chart(chart.properties(height=HEIGHT), alt="Tokens kept, and dropped by reason")


DISK = """select file.table_name, stage, count(*) as n_files, sum(file.rows)::bigint as rows, sum(file.bytes) / 1e6 as megabytes
from (select stage, unnest(files) as file from stage_runs where collection = $collection)
group by all
order by megabytes desc, file.table_name, stage"""


def disk_use(collection: str) -> None:
    """Bytes of the largest tables, by the stage that wrote them."""
    panel(
        "Disk use",
        filled(DISK, collection=collection),
        _disk,
        note=f"The {LARGEST} largest, over all files of completed stages. Artifacts: weights, moments, operators.",
    )


def _disk(rows: pl.DataFrame) -> None:
    chart = (
        alt.Chart(rows.head(LARGEST))
        .mark_bar()
        .encode(
            x=alt.X("megabytes:Q", title="MB"),
            y=alt.Y("table_name:N", title=None, sort="-x", axis=alt.Axis(labelOverlap=False)),
            color=alt.Color("stage:N", title="written by", scale=alt.Scale(scheme="tableau20")),
            tooltip=[
                alt.Tooltip("table_name:N", title="table"),
                alt.Tooltip("stage:N", title="written by"),
                number("megabytes", "MB", ",.2f"),
                number("n_files", "files", ",d"),
                number("rows", "rows", ",d"),
            ],
        )
    )
    draw_chart(chart.properties(height=alt.Step(18)), alt="Megabytes of each table, by the stage that wrote them")


COLLECTIONS = """select collection, model, corpus, layers, n_documents, n_tokens, n_kept, share_dropped, n_saes, n_pairs, n_operators,
    best_r2_test, bytes, created_at
from collection_overview
left join (select collection, sum(bytes)::bigint as bytes from stage_runs group by collection) using (collection)
order by created_at desc
limit 300"""


def all_collections() -> None:
    """Every collection of the warehouse."""
    panel("All collections", COLLECTIONS, _collections, note="Newest first. Tick two to compare them.")


def _collections(rows: pl.DataFrame) -> None:
    ticked = st.dataframe(
        rows,
        hide_index=True,
        key="all collections",
        on_select="rerun",
        selection_mode="multi-row",
        column_config={
            **headings(rows.columns),
            "n_saes": "SAEs",
            "created_at": st.column_config.DatetimeColumn("created", format="distance"),
            "share_dropped": st.column_config.NumberColumn("dropped", format="percent"),
            "bytes": st.column_config.NumberColumn("bytes", format="bytes"),
            "best_r2_test": st.column_config.NumberColumn("best test r2", format="%.3f"),
        },
        placeholder="–",
    )
    compare_two("collection", [rows["collection"][place] for place in ticked["selection"]["rows"]])
