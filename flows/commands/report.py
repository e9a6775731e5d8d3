"""``ato report``: the report of a collection, drawn now, without a flow run; as a page, as Markdown, or as files for a paper."""

import os
from pathlib import Path
from typing import Literal

from ato.errors import DataError, file_error
from tasks.report.files import write_files
from tasks.report.markdown import markdown
from tasks.report.opening import opening
from tasks.report.overview import sae_table
from tasks.report.task import opened_report, report_parts, write_report
from tasks.settings import ReportSettings
from tasks.settings.report import Features
from warehouse.exports.about import today
from warehouse.storage.warehouse import Warehouse


def make_report(
    collection: str,
    output: Path | None = None,
    features: Features = "all",
    format_: Literal["html", "md"] = "html",
    figures: Path | None = None,
) -> str:
    """Draw the report; returns the address of the page.

    Args:
        collection: its key.
        output: file to copy the page to; of Markdown the file, ``report.md`` by default.
        features: over which features its maps and figures average.
        format_: a page that needs nothing else, or Markdown with its figures in files.
        figures: folder to which figures and tables are written as files for a paper; of Markdown, by default, one named
            after it.

    Raises:
        InputError: no such collection.
        DataError: someone removed the report while it was being copied.
        UnavailableError: a file cannot be written.
    """
    if format_ == "md":
        output = output or Path("report.md")
        figures = figures or output.with_name(f"{output.stem}_files")
    if figures is not None:
        _write_files(collection, features, figures, output if format_ == "md" else None)
    return str(output) if format_ == "md" else _page(collection, output, features)


def _write_files(collection: str, features: Features, folder: Path, report: Path | None) -> None:
    """Figures and tables as files, and the report in Markdown that shows them."""
    with opened_report(Warehouse(), collection, features) as scope:
        parts = report_parts(scope, ReportSettings(features=features))
        write_files(folder, scope, [sae_table(scope), *(panel for some in parts.values() for panel in some)], today())
        if report is not None:
            beside = Path(os.path.relpath(folder, report.parent)).as_posix()
            text = markdown(opening(scope), parts, beside)
            try:
                report.parent.mkdir(parents=True, exist_ok=True)
                report.write_text(text, encoding="utf-8")
            except OSError as error:
                raise file_error(error, report) from error


def _page(collection: str, output: Path | None, features: Features) -> str:
    address = write_report.fn(collection, ReportSettings(features=features))
    if output is None:
        return address
    output.parent.mkdir(parents=True, exist_ok=True)
    warehouse = Warehouse()
    page = warehouse.storage.read(address.removeprefix(f"{warehouse.root}/"))
    if page is None:
        raise DataError(
            "the report was removed while it was being copied", where=address, cure="draw it again: ato report"
        )
    output.write_bytes(page)
    return str(output)
