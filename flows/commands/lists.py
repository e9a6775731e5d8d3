"""``ato list`` and ``ato note``: named lists of features and operators, and notes on them."""

import getpass
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ato.errors import InputError
from ato.text.display import visible
from warehouse.catalog.catalog import rows
from warehouse.lists import changes, exchange
from warehouse.lists.items import find_items
from warehouse.storage.staging import disk_full_reported
from warehouse.storage.warehouse import Warehouse

WIDTH = 140
"""Width where the output is no terminal, in characters."""
LISTS = "select * exclude (list_key) from lists"
MEMBERS = """select m.* exclude (list), s.top_tokens[:5] as promotes
from list_members as m left join latest_feature_scores as s using (collection, sae, feature_id)
where m.list = ? order by m.kind, m.layer, m.sae, m.feature_id, m.operator"""
NOTES = """select distinct note, text, author, noted_at from notes
where kind = $1 and weights_hash is not distinct from $2 and feature_id is not distinct from $3
    and ($4 is null or collection = $4) and operator is not distinct from $5
order by noted_at, note"""


def author() -> str | None:
    """Name of the user; None where nobody knows it."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container without a user's name
        return None


def show_lists(format_: str = "table") -> None:
    """Print all lists with their sizes."""
    found = rows(Warehouse(), LISTS)
    if format_ == "json":
        _dump(found)
        return
    if not found:
        print("No lists yet: `ato list add NAME 12/658` makes one.")
        return
    table = _table("Lists", "list", "features", "operators", "by", "changed", "what it is for")
    for one in found:
        counts = f"{one['n_features']:,}", f"{one['n_operators']:,}"
        when = f"{one['changed_at']:%Y-%m-%d %H:%M}"
        table.add_row(*map(_shown, (one["list"], *counts, one["author"], when, one["description"])))
    _console().print(table)


def show_list(name: str, format_: str = "table") -> None:
    """Print what is on a list, with the collections and SAEs in which it is found here.

    Raises:
        InputError: no such list.
    """
    known = [row["list"] for row in rows(Warehouse(), LISTS)]
    if name not in known:
        raise InputError(f"no list {name!r}", cure=f"lists: {', '.join(known) or 'none yet'}")
    found = rows(Warehouse(), MEMBERS, [name])
    if format_ == "json":
        _dump(found)
        return
    table = _table(f"List {name}", "item", "layer", "collection", "promotes", "added")
    for one in found:
        item = one["operator"] or f"{one['sae']}/{one['feature_id']}"
        promotes = " ".join(token.strip() for token in one["promotes"] or [])
        where = one["collection"] or "not in this warehouse"
        table.add_row(*map(_shown, (item, one["layer"], where, promotes, f"{one['added_at']:%Y-%m-%d %H:%M}")))
    _console().print(table)


def add_to_list(name: str, items: Sequence[str], collection: str, description: str | None = None) -> None:
    """Put features and operators on a list and say what came of it; errors of ``changes.add`` and ``find_items``."""
    warehouse = Warehouse()
    found = find_items(warehouse, collection, items)
    n = changes.add(warehouse, name, found, description=description, author=author())
    _say(f"{n} of {len(found)} added to {name}" + ("" if n == len(found) else "; the others were on it"))


def remove_from_list(name: str, items: Sequence[str], collection: str) -> None:
    """Take features and operators off a list and say what came of it."""
    warehouse = Warehouse()
    found = find_items(warehouse, collection, items)
    n = changes.remove(warehouse, name, found, author=author())
    _say(f"{n} of {len(found)} removed from {name}")


def rename_list(name: str, to: str) -> None:
    """Give a list another name."""
    changes.rename(Warehouse(), name, to, author=author())
    _say(f"{name} is now {to}")


def delete_list(name: str) -> None:
    """Remove a list."""
    changes.delete(Warehouse(), name, author=author())
    _say(f"{name} is deleted; what was on it, and notes on that, stay")


def export_lists(file: Path, names: Sequence[str]) -> None:
    """Write lists and notes to a file.

    Raises:
        InputError: another suffix than .csv or .json, or no list of a name.
        UnavailableError: the file cannot be written.
    """
    text = exchange.export_text(Warehouse(), file.suffix, names)
    path = file.expanduser()
    with disk_full_reported(path, elsewhere="name a file in a folder"):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    _say(f"written to {file}")


def import_lists(source: str, collection: str | None) -> None:
    """Add the lists and notes of a file or of another warehouse."""
    made = exchange.import_from(Warehouse(), source, collection)
    _say(", ".join(f"{n} {name if n != 1 else name[:-1]}" for name, n in made.items()) + " added")


def write_note(item: str, text: str | None, collection: str, remove: str | None, format_: str = "table") -> None:
    """Note something on a feature or an operator, or take a note back; without either, print its notes."""
    warehouse = Warehouse()
    (found,) = find_items(warehouse, collection, [item])
    if remove is not None:
        changes.take_back(warehouse, remove, author=author())
    if text is not None:
        changes.note(warehouse, found, text, author=author())
    kind, weights, feature, of, operator = found.identity
    noted = rows(warehouse, NOTES, [kind, weights, feature, of, operator])
    if format_ == "json":
        _dump(noted)
        return
    if not noted:
        _say(f"No notes on {found}.")
        return
    table = _table(f"Notes on {found}", "note", "when", "by", "text")
    for one in noted:
        table.add_row(*map(_shown, (one["note"], f"{one['noted_at']:%Y-%m-%d %H:%M}", one["author"], one["text"])))
    _console().print(table)


def _table(title: str, *heads: str) -> Table:
    table = Table(title=Text(visible(title)), title_justify="left", title_style="bold")
    for head in heads:
        table.add_column(head, overflow="fold")
    return table


def _shown(value: object) -> Text:
    return Text("–" if value is None else visible(str(value), keep="\n"))


def _say(text: str) -> None:
    _console().print(visible(text), markup=False, soft_wrap=True)


def _console() -> Console:
    console = Console(highlight=False)
    return console if console.is_terminal else Console(width=WIDTH, highlight=False)


def _dump(found: list[dict[str, Any]]) -> None:
    json.dump(found, sys.stdout, ensure_ascii=False, indent=1, default=str)
    print()
