"""Lists and notes as files, CSV or JSON, and from another warehouse: whatever was exported is imported as it was.

A record is a list, one of its members, or a note. Features are known by their SAE's weights, so that a list means the same
features in every warehouse that has the SAE, and waits where there is none yet.
"""

import csv
import io
import json
import re
import secrets
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ato.errors import InputError
from warehouse.catalog.catalog import create_tables, open_database
from warehouse.catalog.contents import contents_of
from warehouse.catalog.marts import create_mart_views, mart_texts
from warehouse.catalog.sql_errors import running
from warehouse.lists.changes import changing, checked_name, checked_text, members, write
from warehouse.lists.items import Item, find_items
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES
from warehouse.tables.lists import ADD, CREATE, FEATURE, KINDS, LIST_CHANGES, NOTE, OPERATOR

FORMATS = (".csv", ".json")
COLUMNS = (
    "record", "list", "text", "kind", "weights_hash", "feature_id", "sae", "layer", "collection", "operator", "note",
    "author", "made_at",
)  # fmt: skip
"""Of a file. ``text``: what a list is for, or what a note says. ``made_at``: UTC, ISO 8601."""
_RECORDS = ("list", "member", "note")
_SIMPLE = {"list", "item"}
_FORMULA, _MARKED = re.compile(r"'*[=+\-@\t\r]"), re.compile(r"'+[=+\-@\t\r]")

EXPORTED = f"""with records as (
    select 'list' as record, list, description as text, null as kind, null as weights_hash, null::int as feature_id, null as sae,
        null::int as layer, null as collection, null as operator, null as note, author, created_at as made_at
    from lists
    union all
    select 'member', l.list, null, m.kind, m.weights_hash, m.feature_id, m.sae, m.layer, m.collection, m.operator, null,
        m.author, coalesce(m.made_at, m.changed_at)
    from listed_items as m
    inner join lists as l on l.list_key = m.list
    union all
    select 'note', null, n.text, n.kind, n.weights_hash, n.feature_id, n.sae, n.layer, n.collection, n.operator, n.note,
        n.author, coalesce(n.made_at, n.changed_at)
    from {LIST_CHANGES} as n
    anti join (select note from {LIST_CHANGES} where action = 'take back') using (note)
    where n.action = 'note'
)

select {", ".join(COLUMNS)} from records
where record = 'note' or $names is null or list_contains($names, list)
order by list_position({list(_RECORDS)}, record), list, kind, layer, sae, feature_id, collection, operator, made_at, note"""


def exported(warehouse: Warehouse, names: Sequence[str] = ()) -> list[dict[str, Any]]:
    """The records of all lists and notes, with ``COLUMNS``; notes all, lists those named (none: all).

    Reads the log alone: of a warehouse that another version wrote too, if it was opened with ``any_schema``.

    Raises:
        DamagedFileError: a change is missing or short.
    """
    with open_database(warehouse, [LIST_CHANGES]) as connection, running():
        contents = contents_of(warehouse, [LIST_CHANGES], [], [])
        create_tables(connection, warehouse, [TABLES[LIST_CHANGES]], contents, comments=False)
        texts = mart_texts()
        create_mart_views(connection, {mart: texts[mart] for mart in ("listed_items", "lists")}, comments=False)
        found = connection.sql(EXPORTED, params={"names": list(names) or None}).to_arrow_table().to_pylist()
    return [row | {"made_at": row["made_at"].astimezone(UTC).isoformat()} for row in found]


def export_text(warehouse: Warehouse, suffix: str, names: Sequence[str] = ()) -> str:
    """Lists and notes as the text of a file.

    Raises:
        InputError: another suffix than ``.csv`` or ``.json``, or no list of a name.
    """
    _check_suffix(suffix)
    found = exported(warehouse, names)
    if missing := [name for name in names if not any(row["list"] == name for row in found)]:
        raise InputError(f"no list {missing[0]!r}", where=warehouse.root, cure="`ato list` shows all")
    if suffix == ".json":
        return json.dumps(found, ensure_ascii=False, indent=1) + "\n"
    text = io.StringIO()
    sheet = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    sheet.writeheader()
    sheet.writerows({name: _plain(value) for name, value in row.items()} for row in found)
    return text.getvalue()


def import_from(warehouse: Warehouse, source: str | Path, collection: str | None = None) -> dict[str, int]:
    """Add the lists and notes of a file, or of another warehouse, to those that there are, as one change.

    Members join the list of the same name; what is there already stays as it is. A CSV or JSON file with the columns
    ``list`` and ``item`` (``12/658``, ``KEY/658`` or the key of an operator) will do.

    Args:
        warehouse: that takes them.
        source: a file that ends in ``.csv`` or ``.json``, or the folder or URL of a warehouse of any version.
        collection: in which ``item`` is looked up.

    Returns:
        How many lists, members and notes were new.

    Raises:
        InputError: no such file, or a record that cannot be read, named by its number.
        UnavailableError: lists may not, or cannot, be changed here.
    """
    records = _read(warehouse, str(source), collection)
    made = {"lists": 0, "members": 0, "notes": 0}
    with changing(warehouse) as known:
        new: list[dict[str, Any]] = []
        keys, there = dict(known), {name: members(warehouse, key) for name, key in known.items()}
        for name, own in _by_list(records).items():
            if name not in keys:
                keys[name], there[name] = secrets.token_hex(8), set()
                first = next((record for record in own if record["record"] == "list"), {})
                new.append(
                    {"action": CREATE, "list": keys[name], "name": name, "text": first.get("text"), **_origin(first)}
                )
                made["lists"] += 1
            for record in own:
                if record["record"] == "member" and record["item"].identity not in there[name]:
                    there[name].add(record["item"].identity)
                    new.append({"action": ADD, "list": keys[name], **record["item"].columns, **_origin(record)})
                    made["members"] += 1
        noted = {row["note"] for row in exported(warehouse) if row["note"]}
        for record in records:
            if record["record"] == "note" and record["note"] not in noted:
                noted.add(record["note"])
                own_text = {"note": record["note"], "text": record["text"]}
                new.append({"action": NOTE, **own_text, **record["item"].columns, **_origin(record)})
                made["notes"] += 1
        write(warehouse, new, None)
    return made


def _plain(value: Any) -> Any:
    """A value of a sheet that no program takes for a formula: a text that begins like one gets an apostrophe before it."""
    return f"'{value}" if isinstance(value, str) and _FORMULA.match(value) else value


def _sheet(text: str) -> list[Any]:
    """The rows of a sheet, without the apostrophes of ``_plain``."""
    lines = csv.DictReader(io.StringIO(text, newline=""))
    return [
        {name: value[1:] if isinstance(value, str) and _MARKED.match(value) else value for name, value in line.items()}
        for line in lines
    ]


def _origin(record: Mapping[str, Any]) -> dict[str, Any]:
    return {"author": record.get("author"), "made_at": record.get("made_at")}


def _by_list(records: Iterable[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    for record in records:
        if record["record"] != "note":
            found.setdefault(record["list"], []).append(record)
    return found


def _read(warehouse: Warehouse, source: str, collection: str | None) -> list[dict[str, Any]]:
    """The records of a file or warehouse, checked, each member and note with its ``item``."""
    path = Path(source).expanduser()
    if "://" in source or path.is_dir():
        other = Warehouse(source, any_schema=True)
        if not other.storage.names(LIST_CHANGES):
            raise InputError(
                "there are no lists and notes", where=source, cure="name a warehouse, or a file of `ato list export`"
            )
        given = exported(other)
    else:
        _check_suffix(path.suffix)
        try:
            text = path.read_bytes().decode("utf-8-sig")  # line ends as they are
            given = json.loads(text) if path.suffix == ".json" else _sheet(text)
        except (OSError, ValueError, csv.Error) as error:
            raise InputError(
                f"the file cannot be read ({type(error).__name__})",
                where=source,
                cure="give a file of `ato list export`",
            ) from None
    if not isinstance(given, list) or not all(isinstance(row, Mapping) for row in given):
        raise InputError("the file is not a list of records", where=source, cure="give a file of `ato list export`")
    found = []
    for number, row in enumerate(given, 1):
        try:
            found.append(
                _record(warehouse, {name: value for name, value in row.items() if value not in ("", None)}, collection)
            )
        except (KeyError, TypeError, ValueError) as error:
            what = f"lacks {error}" if isinstance(error, KeyError) else str(error)
            raise InputError(
                f"record {number} cannot be read: {what}",
                where=source,
                cure=f"columns: {', '.join(COLUMNS)}; or list, item",
            ) from None
    return found


def _record(warehouse: Warehouse, row: dict[str, Any], collection: str | None) -> dict[str, Any]:
    if set(row) <= _SIMPLE | {"text"}:
        if collection is None:
            raise ValueError("no collection tells what its item is")
        (item,) = find_items(warehouse, collection, [row["item"]])
        return {"record": "member", "list": checked_name(row["list"]), "item": item}
    if row["record"] not in _RECORDS:
        raise ValueError(f"no kind of record {row['record']!r}")
    row = row | {"made_at": _moment(row.get("made_at"))}
    if "text" in row:
        row["text"] = checked_text(row["text"])
    if row["record"] != "note":
        row["list"] = checked_name(row["list"])
    if row["record"] == "list":
        return row
    if row["record"] == "note" and not (row["note"] and row["text"]):
        raise ValueError("a note has no key or no text")
    return row | {"item": _item(row)}


def _item(row: Mapping[str, Any]) -> Item:
    if row["kind"] == FEATURE:
        layer = int(row["layer"]) if "layer" in row else None
        return Item(FEATURE, str(row["weights_hash"]), int(row["feature_id"]), row.get("sae"), layer)
    if row["kind"] == OPERATOR:
        return Item(OPERATOR, collection=str(row["collection"]), operator=str(row["operator"]))
    raise ValueError(f"kind is one of {', '.join(KINDS)}, not {row['kind']!r}")


def _moment(text: str | None) -> datetime | None:
    if text is None:
        return None
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"{text} has no time zone")
    return moment


def _check_suffix(suffix: str) -> None:
    if suffix not in FORMATS:
        raise InputError(f"no format {suffix!r}", cure=f"name a file that ends in {' or '.join(FORMATS)}")
