"""Export of a panel: its charts as SVG, PDF and PNG, all rows of its statement as CSV, Parquet and LaTeX, or all in one ZIP.

A file is made when it is asked for; what the popover holds is sent when it is opened.
"""

import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from zipfile import ZIP_DEFLATED, ZipFile

import polars as pl
import streamlit as st

from dashboards.ui.drawing import Drawn
from dashboards.ui.plain import caption, plain
from warehouse.exports.about import About, file_stem, sizes, today
from warehouse.exports.latex import latex_file
from warehouse.exports.tables import csv_file, csv_metadata, parquet_file

LABELS = {"svg": "SVG", "pdf": "PDF", "png": "PNG", "csv": "CSV", "parquet": "Parquet", "tex": "LaTeX", "zip": "ZIP"}
_TYPES = {
    "svg": "image/svg+xml",
    "pdf": "application/pdf",
    "png": "image/png",
    "csv": "text/csv",
    "parquet": "application/vnd.apache.parquet",
    "tex": "application/x-tex",
    "zip": "application/zip",
}


def export(
    title: str, note: str, sql: str, rows: pl.DataFrame, charts: Sequence[Drawn], *, tables: bool = True
) -> None:
    """The button of a panel that opens its downloads.

    Args:
        title: of the panel.
        note: of the panel, in Markdown.
        sql: its statement, or the command that prints its rows.
        rows: all that the statement returned.
        charts: those that the panel has drawn.
        tables: whether the rows are offered too.
    """
    with st.popover(
        "Export", type="tertiary", icon=":material/download:", key=f"Export of {title}", on_change="rerun"
    ) as opened:
        if opened.open:
            _downloads(
                About(title, caption(note), sizes(rows), sql, _collection(), today()), rows if tables else None, charts
            )


def _collection() -> str:
    return str(st.session_state.get("collection") or "")


def _downloads(about: About, rows: pl.DataFrame | None, charts: Sequence[Drawn]) -> None:
    stem = file_stem(about.title)
    files: dict[str, Callable[[], bytes]] = {}
    for i, drawn in enumerate(charts, 1):
        own = stem if len(charts) == 1 else f"{stem}-{i}"
        made = {f"{own}.{kind}": partial(_chart_file, drawn, kind, about) for kind in ("svg", "pdf", "png")}
        _row("Chart" if len(charts) == 1 else plain(drawn.alt), made, about.title)
        files |= made
    if rows is None:
        return
    tables = {f"{stem}.{kind}": partial(table_file, rows, kind, about) for kind in ("csv", "parquet", "tex")}
    _row("All rows" if rows.height != 1 else "The row", tables, about.title)
    files |= tables
    described = {f"{stem}.csv-metadata.json": partial(csv_metadata, rows, about, f"{stem}.csv")}
    _row("All of these", {f"{stem}.zip": partial(_zip, files | described)}, about.title)
    st.caption(
        "Caption, n, statement, collection and date are in each file's metadata. CSV has none: in the ZIP they stand beside it."
    )


def _row(label: str, files: Mapping[str, Callable[[], bytes]], title: str) -> None:
    st.markdown(label)
    with st.container(horizontal=True, gap="xsmall"):
        for name, make in files.items():
            kind = name.rpartition(".")[2]
            st.download_button(
                LABELS[kind],
                make,
                name,
                _TYPES[kind],
                key=f"{title}: {name}",
                on_click="ignore",
                help=f"Download {name}",
            )


def _chart_file(drawn: Drawn, kind: str, about: About) -> bytes:
    from dashboards.ui.chart_files import chart_file

    return chart_file(drawn.chart, kind, about)


def table_file(rows: pl.DataFrame, kind: str, about: About) -> bytes:
    """Rows as a file; ``kind`` is csv, parquet or tex."""
    if kind == "csv":
        return csv_file(rows)
    return parquet_file(rows, about) if kind == "parquet" else latex_file(rows, about)


def _zip(files: Mapping[str, Callable[[], bytes]]) -> bytes:
    written = io.BytesIO()
    with ZipFile(written, "w", ZIP_DEFLATED) as archive:
        for name, make in files.items():
            archive.writestr(name, make())
    return written.getvalue()
