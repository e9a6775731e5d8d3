"""Page ``sql_bench``: any read-only statement over tables and marts, its rows as table, chart or file."""

import os
from collections.abc import Callable
from datetime import datetime
from functools import partial
from threading import BoundedSemaphore
from time import monotonic
from typing import Any

import altair as alt
import polars as pl
import psutil
import streamlit as st

from ato.errors import AtoError, UnavailableError
from dashboards.ui.address import choose, typed
from dashboards.ui.drawing import draw_chart, drawn_charts
from dashboards.ui.export import export, table_file
from dashboards.ui.plain import plain
from dashboards.ui.reading import ask, filled, snapshot
from dashboards.ui.row_places import has_places, rows_with_places
from warehouse.catalog.statement_worker import LOOK_SECONDS, StatementWorker
from warehouse.exports.about import About, sizes, today

SECONDS, MEMORY = 30, 2_000_000_000
"""Limits of one visitor's statement: time, and bytes of memory."""

SHOWN_ROWS, DOWNLOADED_ROWS = 1_000, 1_000_000

SHOWN_BYTES, DOWNLOADED_BYTES = 16_000_000, 256_000_000

REMEMBERED = 10
"""Results kept in memory for all visitors."""

MOST_RUNNING = min(8, max(2, psutil.virtual_memory().total // (2 * MEMORY)))
"""Statements of all visitors that run at once: together they take at most half of the machine's memory, if it has 8 GB."""

_running = BoundedSemaphore(MOST_RUNNING)

KINDS = {"csv": "CSV", "parquet": "Parquet", "tex": "LaTeX"}

MARKS = ("point", "line", "bar")

NO_COLOUR = "(none)"


START = """select kind, table_name, any_value(table_meaning) as meaning, count(*) as n_columns
from catalog
group by all
order by all"""


def page() -> None:
    """Draw the page."""
    editor, browser = st.columns([3, 2], gap="medium")
    with browser:
        _browser()
    with editor:
        sql = typed("Statement", "sql", start=START, widget="text_area", height=230)
        st.button("Run", type="primary", icon=":material/play_arrow:", help="Ctrl+Enter in the editor")
        st.caption(
            f"One read-only statement over tables and marts, limited to {SECONDS} s and {MEMORY / 1e9:g} GB of memory. "
            "The page address contains it: share the link."
        )
        rows = _ran(sql)
    if rows is not None:
        with st.container():
            _result(rows, sql)
    worker().prepare()


def _ran(sql: str) -> pl.DataFrame | None:
    """The rows; None, with a message, if there are none to show."""
    if not sql.strip():
        st.info("Write a statement or choose a saved one.")
        return None
    if sql == START:
        return ask(START)  # not the visitor's: it needs no process of its own, which takes a second to start
    place, started = st.empty(), monotonic()

    def waiting() -> None:  # streamlit leaves the page's function here if the visitor has moved on
        place.caption(f"Running, {monotonic() - started:.0f} s. Change the statement to stop it.")

    try:
        return _rows(worker(), snapshot().lists_at, sql, waiting)
    except AtoError as error:
        st.error(plain(error))
        return None
    finally:
        place.empty()


def worker() -> StatementWorker:
    """The visitor's own process for statements, on the current snapshot of the warehouse."""
    about = (os.environ.get("ATO_WAREHOUSE"), snapshot().lists_at)
    kept = st.session_state.get("statement worker")
    if kept is None or kept[0] != about:
        if kept is not None:
            kept[1].stop()
        kept = st.session_state["statement worker"] = (about, StatementWorker(about[0], MEMORY))
    found: StatementWorker = kept[1]
    return found


@st.cache_resource(show_spinner=False)
def _remembered() -> dict[Any, pl.DataFrame]:
    """Results by warehouse, snapshot and statement, the latest last."""
    return {}


def _rows(found: StatementWorker, as_of: datetime, sql: str, waiting: Callable[[], object]) -> pl.DataFrame:
    """The rows shown, plus one if there are more."""
    kept, key = _remembered(), (found.root, as_of, sql)
    if (rows := kept.get(key)) is None:
        rows = kept[key] = _run(found, sql, waiting, max_rows=SHOWN_ROWS + 1, max_bytes=SHOWN_BYTES)
        for oldest in list(kept)[:-REMEMBERED]:
            kept.pop(oldest, None)
    return rows


def _run(found: StatementWorker, sql: str, waiting: Callable[[], object] = lambda: None, **limits: Any) -> pl.DataFrame:
    began = monotonic()
    while not _running.acquire(timeout=LOOK_SECONDS):
        if monotonic() - began > SECONDS:
            raise UnavailableError(f"{MOST_RUNNING} statements are running", cure="try again in a moment")
        waiting()
    try:
        return pl.DataFrame(pl.from_arrow(found.run(sql, seconds=SECONDS, waiting=waiting, **limits)))
    finally:
        _running.release()


NAMES = """select table_name, any_value(table_meaning) as meaning, bool_or(column_name = 'collection') as by_collection
from catalog
group by kind, table_name
order by kind, table_name"""

COLUMNS = """select column_name, type, unit, meaning
from catalog
where table_name = $table"""

QUESTIONS = {
    "Which pairs are transported best": """select source_layer, target_layer, mean_r2, share_transported, share_computed
from transport_map
where method = 'ridge'
order by mean_r2 desc
limit 5""",
    "Verdicts by leap": """select target_layer, leap, verdict, count(*) as features
from feature_transport
where method = 'ridge'
group by all
order by all""",
    "Transport against the identity": """select source_layer, target_layer, position_set, difference, difference_low, difference_high,
    difference_p, difference_excludes_zero
from causal_summary
where intervention = 'identity' and feature_id is null
order by target_layer, source_layer, position_set""",
    "Efficiency by rank, held-out and as published": """select rank, avg(efficiency) as efficiency, avg(efficiency_paper) as as_published
from efficiency_curves
where leap = 2
group by rank
order by rank""",
}


def _browser() -> None:
    """Saved statements, which fill the editor, and the columns of one table or mart."""
    names = ask(NAMES)
    meanings = dict(zip(names["table_name"], names["meaning"]))
    saved = {f"Example: {question}": sql for question, sql in QUESTIONS.items()}
    saved |= {f"{name}: {meaning}": _select(name, divided) for name, meaning, divided in names.iter_rows()}
    st.selectbox(
        "Saved statements",
        list(saved),
        index=None,
        key="saved",
        placeholder="Examples, marts, tables",
        on_change=_take,
        args=(saved,),
    )
    table = choose("Columns of", "table", list(meanings), help="All tables and marts (views over tables)")
    if table is not None:
        sql = filled(COLUMNS, table=table)
        rows = ask(sql)
        with st.container(horizontal=True, wrap=False, vertical_alignment="center"):
            st.caption(f"{meanings[table]}.")
            export(f"Columns of {table}", f"{meanings[table]}.", sql, rows, [])
        st.dataframe(rows, hide_index=True, height=175, placeholder="–")


def _select(name: str, by_collection: bool) -> str:
    chosen = st.session_state.get("collection")
    if chosen is None or not by_collection:
        return f"from {name}"
    return filled(f"from {name}\nwhere collection = $collection", collection=chosen)


def _take(saved: dict[str, str]) -> None:
    """Put the saved statement into the editor and the address."""
    if st.session_state["saved"] is not None:
        st.session_state["sql"] = st.query_params["sql"] = saved[st.session_state["saved"]]
        st.session_state["address of sql"] = st.session_state["sql"]
        st.session_state["saved"] = None


def _result(rows: pl.DataFrame, sql: str) -> None:
    more, rows = rows.height > SHOWN_ROWS, rows.head(SHOWN_ROWS)
    if rows.is_empty():
        st.info(f"No rows. Columns: {plain(', '.join(rows.columns))}.")
        return
    count, *places = st.columns([3, 1, 1, 1], vertical_alignment="center")
    count.markdown(f"First {SHOWN_ROWS:,} rows" if more else f"{rows.height:,} row{'s' * (rows.height > 1)}")
    for where, (kind, label) in zip(places, KINDS.items()):
        where.download_button(
            label,
            partial(result_file, worker(), sql, kind),
            f"result.{kind}",
            on_click="ignore",
            icon=":material/download:",
            width="stretch",
            help=f"The full result, up to {DOWNLOADED_ROWS:,} rows",
        )
    table, chart = st.tabs(["Table", "Chart"])
    with table:
        rows_with_places(rows, "result", height=min(480, 38 + 35 * rows.height))
        if has_places(rows.columns):
            st.caption("Tick a row to open its place in the text.")
    with chart:
        _chart(rows, sql)


def result_file(found: StatementWorker, sql: str, kind: str) -> bytes:
    """The result as a file's bytes; ``kind`` is one of ``KINDS``."""
    rows = _run(found, sql, max_rows=DOWNLOADED_ROWS, max_bytes=DOWNLOADED_BYTES, flat=kind == "csv")
    return table_file(rows, kind, About("Result of a statement", "", sizes(rows), sql, "", today()))


def _chart(rows: pl.DataFrame, sql: str) -> None:
    """A chart of up to three columns of the reader's choice."""
    numbers = [name for name, kind in rows.schema.items() if kind.is_numeric()]
    plain = [name for name, kind in rows.schema.items() if not kind.is_nested()]
    if not numbers or len(plain) < 2:
        st.info("A chart needs two columns, one of them numeric.")
        return
    places = st.columns(4)
    x = choose("x", "x", plain, where=places[0])
    y = choose("y", "y", sorted(numbers, key=lambda name: name == x), where=places[1])
    colour = choose("Colour", "colour", [NO_COLOUR, *plain], where=places[2])
    mark = choose("Mark", "mark", MARKS, where=places[3])
    # Renamed: Vega gives dots and brackets in names a meaning.
    columns = {"x": str(x), "y": str(y)} | ({} if colour == NO_COLOUR else {"colour": str(colour)})
    drawn = rows.select(pl.col(column).alias(name) for name, column in columns.items())
    encoded: dict[str, Any] = {"x": alt.X("x", type=_kind(drawn["x"]), title=x), "y": alt.Y("y:Q", title=y)}
    if "colour" in columns:
        encoded["color"] = alt.Color("colour", type=_kind(drawn["colour"]), title=colour)
    hover = [alt.Tooltip("x", type=_kind(drawn["x"]), title=x), alt.Tooltip("y:Q", title=y)]
    base = alt.Chart(drawn).encode(**encoded, tooltip=hover)
    marked = {"point": base.mark_point(filled=True), "line": base.mark_line(point=True), "bar": base.mark_bar()}
    with drawn_charts() as charts:
        draw_chart(marked[str(mark)], alt=f"{y} against {x}, {rows.height} rows")
    export(f"{y} against {x}", "", sql, rows, charts, tables=False)


def _kind(column: pl.Series) -> Any:
    if column.dtype.is_numeric():
        return "quantitative"
    return "temporal" if column.dtype.is_temporal() else "nominal"
