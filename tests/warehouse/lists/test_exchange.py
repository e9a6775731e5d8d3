"""What was exported is imported as it was, again without effect, and from a warehouse of another version too."""

import csv
import json
from pathlib import Path

import pytest

from ato.errors import InputError, SchemaVersionError
from tests.warehouse.small_warehouse import COLLECTION, build
from warehouse.catalog.catalog import rows
from warehouse.lists import changes
from warehouse.lists.exchange import COLUMNS, export_text, exported, import_from
from warehouse.lists.items import find_items
from warehouse.storage.warehouse import MARKER, Warehouse


@pytest.fixture
def store(tmp_path):
    """A warehouse with two lists, one of them empty, and notes with every kind of character."""
    store = build(tmp_path / "warehouse")
    items = find_items(store, COLLECTION, ["4/0", "4/2", "ridge-2-4"])
    changes.add(store, 'war, "peace"', items, description="line one\nline two", author="me")
    changes.add(store, "empty", [])
    changes.add(store, "gone", items)
    changes.delete(store, "gone")
    changes.note(store, items[0], "=1+1, „ünïcode“\n\nand more", author="you")
    changes.take_back(store, changes.note(store, items[2], "taken back"))
    return store


@pytest.mark.parametrize("suffix", [".csv", ".json"])
def test_import_of_an_export_is_equal_and_once_more_changes_nothing(store, tmp_path, suffix):
    file = tmp_path / f"lists{suffix}"
    file.write_text(export_text(store, suffix), encoding="utf-8")
    other = Warehouse(tmp_path / "other").create()
    assert import_from(other, file) == {"lists": 2, "members": 3, "notes": 1}
    assert exported(other) == exported(store)
    assert len(other.storage.names("list_changes")) == 1, "one change"
    assert import_from(other, file) == {"lists": 0, "members": 0, "notes": 0}
    assert import_from(store, file) == {"lists": 0, "members": 0, "notes": 0}
    assert len(other.storage.names("list_changes")) == 1
    assert rows(other, "select list from lists order by list") == rows(store, "select list from lists order by list")


@pytest.mark.parametrize("text", ["=1+1", "-1", "'=1+1", "''@x", "+a\r\nb", "'quoted'", "a = b"])
def test_no_program_takes_a_text_of_a_sheet_for_a_formula(tmp_path, text):
    store = build(tmp_path / "warehouse")
    changes.add(store, text.splitlines()[0], [], description=text)
    file, other = tmp_path / "lists.csv", Warehouse(tmp_path / "other").create()
    file.write_bytes(export_text(store, ".csv").encode())
    with file.open(encoding="utf-8", newline="") as sheet:
        assert not [cell for line in csv.reader(sheet) for cell in line if cell[:1] in ("=", "+", "-", "@")]
    import_from(other, file)
    assert exported(other) == exported(store)


def test_members_join_the_list_of_the_same_name(store, tmp_path):
    file = tmp_path / "lists.json"
    file.write_text(export_text(store, ".json", ["empty"]))
    assert {row["record"] for row in json.loads(file.read_text())} == {"list", "note"}
    changes.remove(store, 'war, "peace"', find_items(store, COLLECTION, ["4/0"]))
    whole = tmp_path / "whole.csv"
    other = build(tmp_path / "other")
    changes.add(other, 'war, "peace"', find_items(other, COLLECTION, ["4/1"]))
    whole.write_text(export_text(store, ".csv"))
    assert import_from(other, whole)["members"] == 2
    (found,) = rows(other, "from lists where n_features > 0")
    assert (found["n_features"], found["n_operators"]) == (2, 1)


def test_a_sheet_of_lists_and_items_will_do(store, tmp_path):
    file = tmp_path / "own.csv"
    file.write_text("\ufefflist,item\nmine,4/1\nmine,ridge-2-4\n", encoding="utf-8")
    assert import_from(store, file, COLLECTION) == {"lists": 1, "members": 2, "notes": 0}
    with pytest.raises(InputError, match=r"record 1 .*no collection"):
        import_from(store, file)


def test_lists_come_out_of_a_warehouse_of_another_schema(store, tmp_path):
    before = exported(store)
    store.storage.put(MARKER, b'{"schema_version": 1}')
    for path in store.storage.names("stage_runs"):
        Path(store.storage.url(path)).write_bytes(b"of another version")
    with pytest.raises(SchemaVersionError):
        Warehouse(store.root)
    other = Warehouse(tmp_path / "other").create()
    import_from(other, store.root)
    assert exported(other) == before


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("x.txt", "", "no format '.txt'"),
        ("x.json", "{", "cannot be read"),
        ("x.json", "{}", "not a list of records"),
        ("x.json", '[{"record": "nonsense"}]', "record 1 .*no kind of record"),
        ("x.json", '[{"record": "list", "list": "a"}, {"record": "member", "list": "a", "kind": "feature"}]', "record 2 .*weights_hash"),
        ("x.json", '[{"record": "member", "list": "a", "kind": "x"}]', "record 1 .*feature, operator"),
        ("x.json", '[{"record": "list", "list": "a", "made_at": "yesterday"}]', "record 1 "),
        ("x.json", '[{"record": "list", "list": "a", "made_at": "2026-01-01T00:00:00"}]', "no time zone"),
        ("x.csv", ",".join(COLUMNS) + "\nlist," + "x" * 100 + "\n", "cannot be named"),
    ],
)  # fmt: skip
def test_a_faulty_file_changes_nothing_and_is_told_by_its_record(store, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    before = store.storage.names("list_changes")
    with pytest.raises(InputError, match=message) as caught:
        import_from(store, tmp_path / name, COLLECTION)
    assert "\n" not in str(caught.value)
    assert store.storage.names("list_changes") == before


def test_a_missing_file_and_an_unknown_list_are_told(store, tmp_path):
    with pytest.raises(InputError, match="cannot be read"):
        import_from(store, tmp_path / "none.csv")
    with pytest.raises(InputError, match="no list 'nonesuch'"):
        export_text(store, ".csv", ["nonesuch"])
