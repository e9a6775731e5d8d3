"""Results of a run for people: best versions in the registry, the published catalog, Prefect artifacts."""

import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from prefect.artifacts import create_link_artifact, create_markdown_artifact, create_table_artifact

from tasks.engine.looking import is_looking, stage_task
from tasks.engine.progress import phase, say
from tasks.engine.server_calls import call_with_retry
from warehouse.catalog.catalog import rows
from warehouse.catalog.materialise import materialise
from warehouse.catalog.published import publish
from warehouse.storage.warehouse import Warehouse

MLFLOW_UI = "ATO_MLFLOW_UI"
"""Environment variable with the address of the MLflow UI; ``ato up`` sets it for its runs."""
DASHBOARD = "ATO_DASHBOARD"
"""Environment variable with the address of the dashboard."""
MOST_COLUMNS = 10
"""Columns of a one-row table; a wider one is transposed."""
MOST_ROWS = 200
"""Rows of a table artifact, since the browser draws all of them."""


def show_table(stage: str, collection: str, found: Sequence[Mapping[str, Any]]) -> None:
    """Publish the main table of a stage as an artifact, with the command that prints all of it."""
    if not found:
        return
    if len(found) == 1 and len(found[0]) > MOST_COLUMNS:
        found = [{"what": name, "value": str(value)} for name, value in found[0].items()]
    cut = f" First {MOST_ROWS} of {len(found):,} rows." if len(found) > MOST_ROWS else ""
    call_with_retry(
        create_table_artifact,
        table=[{name: _shown(value) for name, value in row.items()} for row in found[:MOST_ROWS]],
        key=stage.replace("_", "-"),
        description=f"{stage} of `{collection}`.{cut} In a terminal: `ato show {stage} --collection {collection}`",
    )


def _shown(value: Any) -> Any:
    """A cell: numbers to five digits, everything else as text."""
    if isinstance(value, float):
        return float(f"{value:.5g}")
    return value if isinstance(value, int | None) else str(value)


def show_link(key: str, address: str, description: str) -> None:
    """Publish an address as an artifact: a link if a browser can open it, else text."""
    if address.startswith(("http://", "https://")):
        call_with_retry(create_link_artifact, link=address, key=key, description=description)
    else:
        call_with_retry(create_markdown_artifact, f"{description}: `{address}`", key=key, description=description)


def show_results(collection: str, stages: Sequence[Mapping[str, Any]]) -> None:
    """Publish a summary of a full run, one row per stage, with the places of its results."""
    lines = [
        "| stage | parts | seconds | CPU seconds | peak memory | MB written | quality |",
        "|---|---|---|---|---|---|---|",
    ]
    for row in stages:
        cells = (
            row["stage"],
            str(row["parts"]),
            _figure(row["seconds"]),
            _figure(row["cpu_seconds"]),
            _figure(row["peak_memory"], 1e9, " GB"),
            _figure(row["bytes"], 1e6),
            row["quality"],
        )
        lines.append(f"| {' | '.join(cells)} |")
    lines += ["", *(f"- {line}" for line in _places(collection))]
    call_with_retry(create_markdown_artifact, "\n".join(lines), key="pipeline", description=f"Results of {collection}")


def _figure(value: float | None, scale: float = 1, unit: str = "") -> str:
    """A cell; a dash where nobody noted it."""
    return "–" if value is None else f"{value / scale:.1f}{unit}"


def _places(collection: str) -> Iterator[str]:
    """Where to find the results of a collection."""
    warehouse = Warehouse()
    if address := os.environ.get(DASHBOARD):
        yield f"[Dashboard]({address.rstrip('/')}/?{urlencode({'collection': collection})})"
    if address := os.environ.get(MLFLOW_UI):
        yield f"[Registry of operators]({address}/#/models)"
    yield f"Report: `{warehouse.root}/artifacts/reports/{collection}/report.html`"
    yield f"Catalog: `{warehouse.root}/warehouse.duckdb`"
    yield f"In a terminal: `ato show --collection {collection}`"


def _point_at_best(warehouse: Warehouse, collection: str) -> None:
    """Move the alias ``best`` of every registered model of the collection to its best version."""
    addresses = rows(
        warehouse,
        "select distinct split_part(registry_uri, '/', 2) as name from operators where collection = ? and registry_uri "
        "is not null order by name",
        [collection],
    )
    if addresses:
        from warehouse.registry.registry import Registry

        registry = Registry(warehouse.root)
        for address in addresses:
            registry.update_best(address["name"])
        registry.checkpoint()
        if pages := os.environ.get(MLFLOW_UI):
            show_link("operators-in-mlflow", f"{pages}/#/models", f"{len(addresses)} registered models")


def materialise_marts(collection: str) -> None:
    """Write the marts that are asked for often, where the results that they are made from have changed."""
    if written := materialise(Warehouse(), collection):
        say("marts", f"{len(written)} materialised, {sum(file.bytes for file in written) / 1e6:.1f} MB")


@stage_task("publish")
def publish_results(collection: str) -> None:
    """Move the alias ``best``, materialise marts, replace ``warehouse.duckdb`` and publish where the results are.

    A look leaves the registry alone: a report that is up to date was drawn after the aliases were moved.
    """
    warehouse = Warehouse()
    with phase("report", "publishing best operators and the catalog"):
        if not is_looking():
            _point_at_best(warehouse, collection)
        materialise_marts(collection)
        publish(warehouse)
    places = "\n".join(f"- {line}" for line in _places(collection))
    call_with_retry(
        create_markdown_artifact, places, key="collection", description=f"Where the results of {collection} are"
    )
