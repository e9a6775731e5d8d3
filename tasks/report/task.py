"""Stage ``report``: the study's figures as one HTML file and as PNG files, drawn from the latest tables.

A report depends on tables only. A stamp beside it records the stages that it was drawn from; it is drawn again when the
stamp changes. Its stage run lists no files, since a later one replaces them: it only says what drawing cost.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from ato.errors import InputError
from tasks.engine.looking import stage_task, work_ahead
from tasks.engine.progress import phase, say
from tasks.engine.stage import Stage
from tasks.report import (
    causal,
    compare,
    efficiency,
    entities,
    fate,
    features,
    graphs,
    jacobians,
    labels,
    operators,
    sae_study,
    transport,
)
from tasks.report.drawing import png
from tasks.report.opening import opening
from tasks.report.page import page
from tasks.report.panels import Panel, Scope, open_scope
from tasks.settings import ReportSettings
from tasks.settings.report import Features
from warehouse.catalog.catalog import rows
from warehouse.storage.warehouse import Warehouse

STAGE, PAGE, STAMP = "report", "report.html", "stamp.txt"
VERSION = 11
"""Raised whenever the drawing changes, so that older reports are drawn again."""


@stage_task("report")
def write_report(collection: str, settings: ReportSettings) -> str:
    """Write ``artifacts/reports/<collection>/report.html`` and a PNG file a figure; returns the page's address.

    Equal tables give equal bytes. A figure without data is one line that names the command that makes some.

    Raises:
        InputError: no such collection.
        DamagedFileError: a table that a figure reads has a missing or short file.
    """
    warehouse = Warehouse()
    stamp = _stamp(warehouse, collection, settings)
    folder = ("reports", collection)
    paths = [f"artifacts/reports/{collection}/{name}" for name in (PAGE, STAMP)]
    address = warehouse.storage.url(paths[0])
    if warehouse.storage.sizes(paths[:1]) and warehouse.storage.read(paths[1]) == stamp.encode():
        say("report", f"up to date, skipped: {address}")
        return address
    work_ahead()
    own = settings.model_dump() | {"stamp": stamp}
    stage = Stage(warehouse, STAGE, "report", settings=own, inputs=[collection], collection=collection)
    with stage, phase(STAGE, "drawing figures"):
        absent, shown = _draw(warehouse, collection, settings)
        warehouse.publish_artifact(lambda path: path.write_text(stamp), *folder, STAMP)
    say("report", f"{shown - absent} of {shown} figures: {address}")
    return address


def _draw(warehouse: Warehouse, collection: str, settings: ReportSettings) -> tuple[int, int]:
    """Publish page and pictures; returns how many figures are absent, and how many there are."""
    with opened_report(warehouse, collection, settings.features) as scope:
        parts = report_parts(scope, settings)
        text = page(opening(scope), parts)
    shown = [panel for some in parts.values() for panel in some]
    drawn = [panel for panel in shown if panel.draw is not None and not panel.absent] if settings.png else []
    warehouse.publish_artifact_folder(partial(_fill, text, drawn), "reports", collection)
    return sum(bool(panel.absent) for panel in shown), len(shown)


@contextmanager
def opened_report(warehouse: Warehouse, collection: str, features: Features) -> Iterator[Scope]:
    """The scope of a collection's report, closed at the end of the block.

    Raises:
        InputError: no such collection.
    """
    scope = open_scope(warehouse, collection, features)
    with scope.connection:
        if not scope.ask(f"select collection from collections where {scope.of_collection}"):
            raise InputError(f"no collection {collection!r}", cure='ato sql "select collection from collections"')
        yield scope


def _stamp(warehouse: Warehouse, collection: str, settings: ReportSettings) -> str:
    """What the report depends on: the stages of the collection, the settings and the program."""
    runs = rows(
        warehouse,
        "select stage, key, epoch_us(started_at) as started_at, quality from stage_runs where collection = ? and "
        "stage <> ? order by all",
        [collection, STAGE],
    )
    text = json.dumps([VERSION, settings.model_dump(), runs], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def report_parts(scope: Scope, settings: ReportSettings) -> dict[str, list[Panel]]:
    """All panels of the report by part, in the study's order; those of entities to comparisons if there are any."""
    return {
        "Transport": transport.panels(scope),
        "Transport efficiency": efficiency.panels(scope),
        "Causal check": causal.panels(scope),
        "Operators": [*operators.panels(scope), *jacobians.panels(scope)],
        "Features": features.panels(scope, settings.n_example_features),
        "Entities": entities.panels(scope),
        "SAE study": sae_study.panels(scope),
        "Labels": labels.panels(scope),
        "Graphs of prompts": graphs.panels(scope),
        "Fates of features": fate.panels(scope),
        "Models compared": compare.panels(scope),
    }


def _fill(text: str, drawn: list[Panel], folder: Path) -> None:
    """Write the page and the pictures into an empty folder."""
    for panel in drawn:
        assert panel.draw is not None
        (folder / f"{panel.key}.png").write_bytes(png(panel.key, panel.draw, panel.rows))
    (folder / PAGE).write_text(text, encoding="utf-8")
