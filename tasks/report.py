"""Stage ``report``: the study's figures as one HTML file and as PNG files, drawn from the latest tables.

A report is derived from tables and from nothing else: it has no key of its own and is written anew whenever asked for.
"""

from functools import partial
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE

from ato.errors import InputError
from tasks.progress import say
from tasks.reporting import causal, efficiency, features, operators, transport
from tasks.reporting.drawing import png
from tasks.reporting.findings import findings
from tasks.reporting.overview import head
from tasks.reporting.page import page
from tasks.reporting.panels import Panel, Scope, open_scope
from tasks.settings import ReportSettings
from warehouse.store import Warehouse

PAGE = "report.html"


@task(name="report", cache_policy=NO_CACHE)
def write_report(collection: str, settings: ReportSettings) -> str:
    """Write ``artifacts/reports/<collection>/report.html`` and a PNG file a figure; returns the page's address.

    Equal tables give equal bytes. Figures whose tables are empty are a line that says what would fill them.

    Raises:
        InputError: no such collection.
        DamagedFileError: a table that a figure reads has a missing or short file.
    """
    warehouse = Warehouse()
    scope = open_scope(warehouse, collection)
    with scope.connection:
        if not scope.ask(f"select collection from collections where {scope.of_collection}"):
            raise InputError(f"no collection {collection!r}", cure='ato sql "select collection from collections"')
        shown = report_panels(scope, settings)
        text = page(f"Transport study: {collection}", head(scope), findings(scope), shown)
    drawn = [panel for panel in shown if panel.draw is not None and not panel.absent] if settings.png else []
    files = warehouse.publish_artifact_folder(partial(_fill, text, drawn), "reports", collection)
    (path,) = [file.path for file in files if file.path.endswith(f"/{PAGE}")]
    address = warehouse.storage.url(path)
    absent = sum(bool(panel.absent) for panel in shown)
    say("report", f"{len(shown) - absent} of {len(shown)} figures: {address}")
    return address


def report_panels(scope: Scope, settings: ReportSettings) -> list[Panel]:
    """All panels of the report, in the study's order."""
    return [
        *transport.panels(scope),
        *efficiency.panels(scope),
        *causal.panels(scope),
        *operators.panels(scope),
        *features.panels(scope, settings.n_example_features),
    ]


def _fill(text: str, drawn: list[Panel], folder: Path) -> None:
    """Write the page and the pictures into an empty folder."""
    for panel in drawn:
        assert panel.draw is not None
        (folder / f"{panel.key}.png").write_bytes(png(panel.key, panel.draw, panel.rows))
    (folder / PAGE).write_text(text, encoding="utf-8")
