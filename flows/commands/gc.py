"""``ato gc``: leftovers of failed runs and collections no longer wanted; removed with ``--yes``."""

import re
from collections.abc import Sequence
from datetime import timedelta

from rich.console import Console
from rich.table import Table

from ato.errors import InputError
from flows.engine.own_server import end_orphaned_servers, orphaned_servers
from warehouse.maintenance import retention
from warehouse.storage.warehouse import Warehouse

UNITS = {"h": timedelta(hours=1), "d": timedelta(days=1), "w": timedelta(weeks=1)}
SERVERS = "Prefect servers of killed runs"
EXAMPLES = 3
"""Paths shown for each reason."""


def collect_garbage(collections: Sequence[str] = (), older_than: str | None = None, *, yes: bool = False) -> None:
    """List what would be removed, and with ``yes`` remove it.

    Raises:
        InputError: no such collection, a run is using it, or the age cannot be read.
    """
    warehouse = Warehouse()
    plan = retention.plan(warehouse, collections, None if older_than is None else age(older_than))
    console = Console(highlight=False, soft_wrap=True)
    table = Table("what", "files", "bytes", "for example", header_style="bold")
    for reason in dict.fromkeys(removal.reason for removal in plan.removals):
        of_reason = [removal for removal in plan.removals if removal.reason == reason]
        shown = "\n".join(removal.path for removal in of_reason[:EXAMPLES])
        table.add_row(reason, f"{len(of_reason):,}", f"{sum(r.bytes for r in of_reason):,}", shown)
    if plan.versions:
        table.add_row("versions in the registry", f"{len(plan.versions):,}", "", "\n".join(plan.versions[:EXAMPLES]))
    if servers := list(orphaned_servers()):
        table.add_row(SERVERS, "", "", "\n".join(f"process {server.pid}" for server in servers[:EXAMPLES]))
    if table.row_count:
        (console if console.is_terminal else Console(width=180)).print(table)
    for note in plan.notes:
        console.print(f"kept: {note}", markup=False)
    if not table.row_count:
        console.print(f"nothing to remove in {warehouse.root}")
    elif yes:
        retention.carry_out(warehouse, plan)
        end_orphaned_servers()
        console.print(f"[bold green]{plan.bytes:,} bytes freed[/] in {warehouse.root}")
    else:
        console.print(f"[bold]{plan.bytes:,} bytes[/] would be freed. Nothing was removed: add --yes to remove them.")


def age(text: str) -> timedelta:
    """``12h``, ``30d`` or ``2w`` as a length of time.

    Raises:
        InputError: anything else.
    """
    found = re.fullmatch(r"(\d{1,5})([hdw])", text.strip())
    if found is None:
        raise InputError(
            f"{text!r} is not an age", where="--older-than", cure="write hours, days or weeks: 12h, 30d, 2w"
        )
    return int(found[1]) * UNITS[found[2]]
