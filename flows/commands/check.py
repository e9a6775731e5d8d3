"""``ato check``: every file against its hash, every table against its expectations."""

from rich.console import Console

from warehouse.quality import checks
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
        console.print(
            "To repair: delete the files named above and run the same flow again; it rebuilds what is missing."
        )
    else:
        console.print(f"[bold green]all {len(results)} checks passed[/] on {n_tables} tables in {warehouse.root}")
    return not failed
