"""Changes of lists and notes: each is decided while nobody else writes, and is one file of the log.

``ATO_READ_ONLY=1`` in the environment refuses them all, as a folder does that cannot be written.
"""

import os
import secrets
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from ato.errors import InputError, UnavailableError
from warehouse.catalog.catalog import rows
from warehouse.lists.items import Item
from warehouse.storage.change_log import append, locked
from warehouse.storage.warehouse import Warehouse
from warehouse.tables.lists import ADD, CREATE, DELETE, NOTE, REMOVE, RENAME, TAKE_BACK

VARIABLE = "ATO_READ_ONLY"
"""Environment variable under which lists and notes are not changed."""
LONGEST_NAME, LONGEST_TEXT = 80, 10_000
"""Characters."""
_EMPTY: dict[str, Any] = dict.fromkeys(
    ("made_at", "author", "list", "name", "note", "text", "kind", "weights_hash", "feature_id", "sae", "layer", "collection", "operator")
)  # fmt: skip

LISTS = "select list, list_key from lists order by created_at, list_key"
MEMBERS = "select kind, weights_hash, feature_id, collection, operator from listed_items where list = ?"


def add(
    warehouse: Warehouse, name: str, items: Sequence[Item], *, description: str | None = None, author: str | None = None
) -> int:
    """Put items on a list, which is made if there is none of that name; returns how many were not on it before.

    Args:
        warehouse: that holds the list.
        name: of the list.
        items: features and operators.
        description: what a new list is for.
        author: who says so.

    Raises:
        InputError: a name that no list can have.
        UnavailableError: lists may not, or cannot, be changed here.
    """
    name = checked_name(name)
    with changing(warehouse) as known:
        key, new = known.get(name), []
        if key is None:
            key = secrets.token_hex(8)
            new.append({"action": CREATE, "list": key, "name": name, "text": checked_text(description)})
            there = set()
        else:
            there = members(warehouse, key)
        fresh = {item.identity: item for item in items if item.identity not in there}
        new += [{"action": ADD, "list": key, **item.columns} for item in fresh.values()]
        write(warehouse, new, author)
    return len(fresh)


def remove(warehouse: Warehouse, name: str, items: Sequence[Item], *, author: str | None = None) -> int:
    """Take items off a list; returns how many were on it. Errors as in ``add``, and for a list that there is not."""
    with changing(warehouse) as known:
        key = _key(known, name)
        there = members(warehouse, key)
        going = {item.identity: item for item in items if item.identity in there}
        write(warehouse, [{"action": REMOVE, "list": key, **item.columns} for item in going.values()], author)
    return len(going)


def rename(warehouse: Warehouse, name: str, to: str, *, author: str | None = None) -> None:
    """Give a list another name; errors as in ``remove``, and for a name that another list has."""
    to = checked_name(to)
    with changing(warehouse) as known:
        key = _key(known, name)
        if to in known:
            raise InputError(f"there is a list {to!r} already", where=warehouse.root, cure="choose another name")
        write(warehouse, [{"action": RENAME, "list": key, "name": to}], author)


def delete(warehouse: Warehouse, name: str, *, author: str | None = None) -> None:
    """Remove a list; what was on it and the notes on that stay. Errors as in ``remove``."""
    with changing(warehouse) as known:
        write(warehouse, [{"action": DELETE, "list": _key(known, name)}], author)


def note(warehouse: Warehouse, item: Item, text: str, *, author: str | None = None) -> str:
    """Note something on a feature or an operator, beside the notes that there are; returns the note's key.

    Raises:
        InputError: no text, or one that is too long.
        UnavailableError: notes may not, or cannot, be written here.
    """
    said = checked_text(text)
    if said is None:
        raise InputError("a note has no text", cure="write what is to be remembered")
    key = secrets.token_hex(8)
    with changing(warehouse):
        write(warehouse, [{"action": NOTE, "note": key, "text": said, **item.columns}], author)
    return key


def take_back(warehouse: Warehouse, key: str, *, author: str | None = None) -> None:
    """Remove a note; errors as in ``note``, and for a note that there is not."""
    with changing(warehouse):
        if not rows(warehouse, "select 1 from notes where note = ? limit 1", [key]):
            raise InputError(
                f"no note {key!r}", where=warehouse.root, cure="`ato note 12/658` shows those of a feature"
            )
        write(warehouse, [{"action": TAKE_BACK, "note": key}], author)


def check_changeable(warehouse: Warehouse) -> None:
    """Raise UnavailableError where lists and notes may not, or cannot, be changed."""
    if os.environ.get(VARIABLE, "").strip() not in ("", "0"):
        cure = f"unset {VARIABLE}, or ask whoever set it"
        raise UnavailableError("lists and notes are read-only here", where=f"{VARIABLE} is set", cure=cure)
    warehouse.check_exists()
    warehouse.storage.check_writable()


def checked_name(name: str) -> str:
    """A name that a list can have, without blanks around it.

    Raises:
        InputError: it is empty, too long, or has characters that are not printed.
    """
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        cure = f"use 1 to {LONGEST_NAME} printable characters"
        raise InputError(f"a list cannot be named {name[:LONGEST_NAME]!r}", cure=cure)
    return name


@contextmanager
def changing(warehouse: Warehouse) -> Iterator[Mapping[str, str]]:
    """Inside, nobody else changes lists; gives the keys of the lists by name, of two of one name the older."""
    check_changeable(warehouse)
    with locked(warehouse):
        known: dict[str, str] = {}
        for row in rows(warehouse, LISTS):
            known.setdefault(row["list"], row["list_key"])
        yield known


def _key(known: Mapping[str, str], name: str) -> str:
    if name.strip() not in known:
        listed = ", ".join(sorted(known)) or "none yet: `ato list add NAME 12/658` makes one"
        raise InputError(f"no list {name!r}", cure=f"lists: {listed}")
    return known[name.strip()]


def members(warehouse: Warehouse, key: str) -> set[tuple[object, ...]]:
    """Identities of what is on the list with a key."""
    return {tuple(row.values()) for row in rows(warehouse, MEMBERS, [key])}


def checked_text(text: str | None) -> str | None:
    """A text without blanks around it; None for an empty one.

    Raises:
        InputError: it is too long.
    """
    text = (text or "").strip()
    if len(text) > LONGEST_TEXT:
        raise InputError(f"the text has {len(text):,} characters", cure=f"use at most {LONGEST_TEXT:,}")
    return text or None


def write(warehouse: Warehouse, new: Sequence[Mapping[str, Any]], author: str | None) -> None:
    """Append rows of ``list_changes`` as one change; what a row leaves out is NULL, its author who is given."""
    if new:
        append(warehouse, [_EMPTY | {"author": author} | dict(row) for row in new])
