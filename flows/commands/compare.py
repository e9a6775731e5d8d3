"""``ato compare``: any two things of one kind side by side, with the difference of each quantity and its interval."""

import json
import sys
from functools import partial
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.text.display import visible
from warehouse.catalog.catalog import rows
from warehouse.catalog.compared.comparisons import PARTS
from warehouse.catalog.compared.sides import Side, fill, pair
from warehouse.catalog.compared.statements import Part

WIDTH = 140
"""Width where the output is no terminal, in characters."""
ROWS, ITEMS, CHARACTERS = 12, 4, 40
"""Rows of a table but the first, items of a list and characters of a text that are printed; JSON has all."""


def show_comparison(collection: str, left: str, right: str, format_: str = "table") -> None:
    """Print the comparison of two addresses, ``KIND:ID`` or ``KIND:ID@COLLECTION``; the right one may leave out its kind.

    Raises:
        InputError: one is not there, or they are of different kinds.
    """
    ask = partial(rows, None)
    one, other = pair(left, right, collection, ask)
    found = [(part, ask(fill(part.sql, one, other))) for part in PARTS[one.kind]]
    if format_ == "json":
        sides = {"left": _about(one), "right": _about(other)}
        json.dump(
            sides | {part.title: of_part for part, of_part in found},
            sys.stdout,
            ensure_ascii=False,
            indent=1,
            default=str,
        )
        print()
        return
    console = Console(highlight=False)
    console = console if console.is_terminal else Console(width=WIDTH, highlight=False)
    for name, side in (("left", one), ("right", other)):
        console.print(Text(f"{name}: {side.title}, in {side.collection}"))
    (first, differences), *others = found
    console.print(
        Text(f"\n{first.title}: right less left, with 95 % intervals", style="bold"), _differences(differences)
    )
    for part, of_part in others:
        _print_part(console, part, of_part)


def _about(side: Side) -> dict[str, Any]:
    return {"address": side.address(), "title": side.title, **side.values}


def _differences(found: list[dict[str, Any]]) -> Table:
    table = _table("quantity", "left", "right", "difference", "paired by", "n left", "n right", "unit")
    for row in found:
        paired = "" if row["paired_by"] is None else row["paired_by"]
        pairs = "" if row["n_paired"] is None else f", {row['n_paired']:,}"
        table.add_row(
            row["quantity"],
            *(_interval(row, f"{name}_value", f"{name}_low", f"{name}_high") for name in ("left", "right")),
            _interval(row, "difference", "difference_low", "difference_high"),
            f"{paired}{pairs}",
            *(
                "–" if row[f"{name}_n"] is None else f"{row[f'{name}_n']:,} {row['n_of'] or ''}".strip()
                for name in ("left", "right")
            ),
            row["unit"],
        )
    return table


def _print_part(console: Console, part: Part, found: list[dict[str, Any]]) -> None:
    console.print(Text(f"\n{part.title}", style="bold"))
    if not found:
        console.print(Text(part.empty.replace("`", "")))
        return
    columns = [name for name in found[0] if any(row[name] is not None for row in found) and name not in HIDDEN]
    table = _table(*(name.replace("_", " ") for name in columns))
    shown = [_with_text(row) for row in _of_both(found)]
    for row in shown:
        table.add_row(*(_cell(row[name]) for name in columns))
    console.print(table)
    if len(shown) < len(found):
        console.print(Text(f"{len(shown)} of {len(found)} rows; all: --format json"))


BEFORE = 6
"""Tokens of a window that are printed before its peak."""
HIDDEN = {
    "activations",
    "start",
    "largest",
    "collection",
    "operator",
    "bin",
    "by_chance",
    "source_kind",
    "target_kind",
    "evaluation",
    "lowest",
    "highest",
    "drawn",
    "drawn_low",
    "drawn_high",
    "drawn_ceiling",
    "left_drawn",
    "right_drawn",
    "n_cells",
}
"""Columns that only pictures need."""


def _of_both(found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The first rows of each side."""
    if "side" not in found[0]:
        return found[:ROWS]
    return [row for side in ("left", "right") for row in [row for row in found if row["side"] == side][:ROWS]]


def _with_text(row: dict[str, Any]) -> dict[str, Any]:
    """A window of text with the words around its peak in place of its tokens; other rows as they are."""
    if "activations" not in row:
        return row
    peak = row["position"] - row["start"]
    return row | {"tokens": "".join(row["tokens"][max(peak - BEFORE, 0) : peak + 2])}


def _cell(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, int):
        return f"{value:,}"
    text = (
        " ".join(f"«{visible(str(item))}»" for item in value[:ITEMS])
        if isinstance(value, list)
        else visible(str(value))
    )
    return text if len(text) <= CHARACTERS else f"{text[: CHARACTERS - 1]}…"


def _interval(row: dict[str, Any], value: str, low: str, high: str) -> str:
    limits = "" if row[low] is None else f" [{row[low]:.4g}, {row[high]:.4g}]"
    return _cell(row[value]) + limits


def _table(*heads: str) -> Table:
    table = Table(box=SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, 1, 0, 0))
    for head in heads:
        table.add_column(head, overflow="fold")
    return table
