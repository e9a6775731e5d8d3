"""How the parts of the summary look: tables without vertical lines, titles that are not folded, cells with intervals."""

from collections.abc import Iterator
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

CELL = 9
"""Characters of a column of the transport map, with the gap before it."""


def titled(title: str, *tables: Table) -> Iterator[Any]:
    """The title on a line of its own: a table would fold it to the table's width."""
    yield Text(f"\n{title}", style="bold")
    for i, table in enumerate(tables):
        yield from [table] if i == 0 else ["", table]


def plain_table(*heads: str) -> Table:
    """A table without vertical lines, whose numbers and names are never folded."""
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, no_wrap=True, overflow="ellipsis")
    return table


def estimate_cell(row: dict[str, Any], name: str, digits: int = 3, *, with_interval: bool = True) -> str:
    """A value with its interval in brackets; a dash where there is none."""
    if row[name] is None:
        return "–"
    low, high = (row[f"{name}_low"], row[f"{name}_high"]) if with_interval else (None, None)
    return f"{row[name]:.{digits}f}" + ("" if low is None else f" [dim]\\[{low:.{digits}f}, {high:.{digits}f}][/]")
