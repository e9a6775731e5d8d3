"""``ato check``: every file against its hash, every table against its expectations."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Console

from warehouse.catalog.mart_files import FOLDER as MARTS
from warehouse.quality import checks
from warehouse.quality.integrity import PRESENT, READABLE, UNALTERED
from warehouse.storage.warehouse import Warehouse


def check_warehouse() -> bool:
    """Check the whole warehouse and print what failed; returns whether everything passed."""
    console = Console(highlight=False, soft_wrap=True)
    warehouse = Warehouse()
    if not warehouse.storage.names("stage_runs"):  # asked before Prefect is imported, which creates a folder
        console.print(f"nothing to check: {warehouse.root} is empty; start with `ato run pipeline`")
        return True
    from tasks.engine.progress import phase

    with phase("check", "reading every file"):
        results = checks.check_all(warehouse)
    failed = checks.failures(results)
    for result in failed:
        column = f".{result['column_name']}" if result["column_name"] else ""
        console.print(
            f"[bold red]FAILED[/] {result['stage']} {result['key']}: {result['table_name']}{column}: {result['expectation']}"
            f" ({result['n_unexpected']:,} of {result['n_checked']:,})"
        )
        if result["examples"]:
            console.print(f"       {result['examples']}", markup=False)
    n_tables = len({result["table_name"] for result in results})
    if failed:
        console.print(f"[bold red]{len(failed)} of {len(results)} checks failed[/] in {warehouse.root}")
        for cure in cures(failed):
            console.print(f"To repair: {cure}.")
    else:
        console.print(f"[bold green]all {len(results)} checks passed[/] on {n_tables} tables in {warehouse.root}")
    return not failed


def cures(failed: Iterable[Mapping[str, Any]]) -> list[str]:
    """What repairs the failures: a run makes files again that lack or have another size, and knows no other as damaged."""
    rows = list(failed)
    resized = _files(row for row in rows if row["expectation"] == PRESENT)
    altered = _files(row for row in rows if row["expectation"] in (UNALTERED, READABLE)) - resized
    marts = {path for path in altered if path.startswith(f"{MARTS}/")}
    found = []
    if resized:
        found.append(
            "run the `ato run` that made the missing or cut files again, with the same settings: it makes them again"
        )
    if altered - marts:
        found.append(
            "delete the files that were altered but kept their size, then run the `ato run` that made them again, with "
            "the same settings"
        )
    if marts:
        found.append(
            f"delete the altered files of {MARTS}/: pages and statements do without, and the next run writes them"
        )
    if not found:
        found.append("no file is damaged: mend what wrote these rows, then run the stage again under a new version")
    return found


def _files(rows: Iterable[Mapping[str, Any]]) -> set[str]:
    return {example["file"] for row in rows for example in json.loads(row["examples"] or "[]") if "file" in example}
