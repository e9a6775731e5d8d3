"""Figures and tables of the report as files for a paper, each with caption, n and statement in its metadata."""

from datetime import date
from pathlib import Path

from ato.errors import file_error
from tasks.report.drawing import pdf, png, svg_document
from tasks.report.panels import Panel, Scope
from warehouse.exports.about import About
from warehouse.exports.figures import pdf_file, png_file, svg_file
from warehouse.exports.latex import latex_file
from warehouse.exports.tables import csv_file, csv_metadata, parquet_file

FIGURES, TABLES = ("svg", "pdf", "png"), ("csv", "parquet", "tex")
"""Endings of the files of a figure, and of those of its rows."""


def write_files(folder: Path, scope: Scope, panels: list[Panel], day: date) -> list[Path]:
    """Write every figure as SVG, PDF and PNG and the rows of every panel as CSV, Parquet and LaTeX; returns the files.

    Files are named by the panel's key. Equal tables give equal bytes on a day.

    Args:
        folder: made if it is not there; files of the same names are replaced.
        scope: of the report.
        panels: of the report; those without data are left out.
        day: written into the files.

    Raises:
        UnavailableError: a file cannot be written.
    """
    written = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for panel in panels:
            if not panel.absent:
                for name, content in _contents(scope, panel, day).items():
                    written.append(folder / name)
                    written[-1].write_bytes(content)
    except OSError as error:
        raise file_error(error, folder) from error
    return written


def _contents(scope: Scope, panel: Panel, day: date) -> dict[str, bytes]:
    """Names of a panel's files, and what is in them."""
    about = About(panel.title, panel.caption, panel.n, panel.sql, scope.collection, day)
    rows = scope.table(panel.sql)
    found = {
        f"{panel.key}.csv": csv_file(rows),
        f"{panel.key}.csv-metadata.json": csv_metadata(rows, about, f"{panel.key}.csv"),
        f"{panel.key}.parquet": parquet_file(rows, about),
        f"{panel.key}.tex": latex_file(rows, about),
    }
    if panel.draw is not None:
        figure = (panel.key, panel.draw, panel.rows)
        found |= {
            f"{panel.key}.svg": svg_file(svg_document(*figure), about),
            f"{panel.key}.pdf": pdf_file(pdf(*figure), about),
            f"{panel.key}.png": png_file(png(*figure), about),
        }
    return found
