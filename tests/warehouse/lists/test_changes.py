"""Lists and notes: what is written stays through rebuilds, removals and kills; names, members and notes are as they were left."""

import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

import warehouse as package
from ato.errors import DamagedFileError, InputError, UnavailableError
from tests.warehouse.small_warehouse import COLLECTION, SAE, build
from warehouse.catalog.catalog import connect, rows
from warehouse.lists import changes
from warehouse.lists.items import Item, find_items
from warehouse.maintenance import retention
from warehouse.quality.checks import check_all, failures
from warehouse.storage import change_log
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse
from warehouse.tables.lists import FEATURE

ROOT = Path(package.__file__).parents[1]
OPERATOR = "ridge-2-4"


@pytest.fixture
def store(tmp_path):
    """A small warehouse of the test's own: an SAE of three features, an operator."""
    return build(tmp_path / "warehouse")


def named(store, *names):
    return find_items(store, COLLECTION, names)


def members(store, name):
    found = rows(store, "from list_members where list = ?", [name])
    return [row["operator"] or row["feature_id"] for row in found]


def noted(store):
    return [row["text"] for row in rows(store, "from notes")]


def test_what_is_added_is_on_the_list_once_and_what_is_removed_is_off_it(store):
    assert changes.add(store, " war ", named(store, "4/0", "L4/2", f"{SAE}/2", OPERATOR), description="on war") == 3
    assert changes.add(store, "war", named(store, "4/0", "4/1")) == 1
    assert members(store, "war") == [0, 1, 2, OPERATOR]
    assert changes.remove(store, "war", named(store, "4/0")) == 1
    assert changes.remove(store, "war", named(store, "4/0")) == 0
    assert changes.add(store, "war", named(store, "4/0")) == 1
    assert members(store, "war") == [0, 1, 2, OPERATOR]
    (found,) = rows(store, "from lists")
    assert (found["list"], found["description"], found["n_features"], found["n_operators"]) == ("war", "on war", 3, 1)


def test_a_list_keeps_what_is_on_it_under_another_name_and_a_deleted_one_gives_its_name_back(store):
    changes.add(store, "war", named(store, "4/0"))
    changes.add(store, "peace", [])
    changes.rename(store, "war", "battles")
    assert members(store, "battles") == [0]
    with pytest.raises(InputError, match="there is a list 'peace' already"):
        changes.rename(store, "battles", "peace")
    changes.delete(store, "battles")
    assert [row["list"] for row in rows(store, "from lists")] == ["peace"]
    changes.add(store, "battles", named(store, "4/1"))
    assert members(store, "battles") == [1], "a new list, not the old one"
    with pytest.raises(InputError, match="no list 'war': lists: battles, peace"):
        changes.remove(store, "war", [])


def test_notes_stand_beside_each_other_until_one_is_taken_back(store):
    feature, operator = named(store, "4/0", OPERATOR)
    first = changes.note(store, feature, "fires on\nbattles", author="me")
    changes.note(store, feature, "not on wars")
    changes.note(store, operator, "good")
    assert noted(store) == ["fires on\nbattles", "not on wars", "good"]
    changes.take_back(store, first)
    assert noted(store) == ["not on wars", "good"]
    with pytest.raises(InputError, match="no note"):
        changes.take_back(store, first)
    with pytest.raises(InputError, match="no text"):
        changes.note(store, feature, "  ")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("9/0", "layer 9 has no SAE"),
        ("4/3", f"{SAE} has no feature 3.*use 0 to 2"),
        ("x-1/0", f"no SAE 'x-1'.*{SAE}"),
        ("ridge", "no feature and no operator 'ridge'"),
        ("4", "no feature and no operator '4'.*12/658"),
    ],
)
def test_a_name_that_nothing_has_is_told_with_those_that_there_are(store, name, message):
    with pytest.raises(InputError, match=message):
        named(store, name)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 81])
def test_a_list_has_a_name_of_printable_characters(store, name):
    with pytest.raises(InputError, match="a list cannot be named"):
        changes.add(store, name, [])
    assert not store.storage.names("list_changes")


def test_a_feature_is_known_by_its_weights_wherever_its_sae_is_and_stays_listed_where_it_is_not(store):
    changes.add(store, "war", [*named(store, "4/1"), Item(FEATURE, "other", 7, "sae-elsewhere", 12)])
    found = rows(store, "select sae, collection, layer, feature_id from list_members order by feature_id")
    assert [tuple(row.values()) for row in found] == [(SAE, COLLECTION, 4, 1), ("sae-elsewhere", None, 12, 7)]


def test_lists_survive_the_removal_and_the_rebuild_of_everything_else(store, tmp_path):
    changes.add(store, "war", named(store, "4/1", OPERATOR))
    changes.note(store, named(store, "4/1")[0], "a note")
    old = {name: store.storage.read(name) for name in store.storage.names("list_changes")}
    for path in old:
        os.utime(store.storage.url(path), (0, 0))
    plan = retention.plan(store, [COLLECTION])
    assert not [removal.path for removal in plan.removals if removal.path.startswith("list_changes")]
    retention.carry_out(store, plan)
    assert not manifests(store)
    assert {name: store.storage.read(name) for name in store.storage.names("list_changes")} == old
    assert [row["collection"] for row in rows(store, "from list_members where kind = 'feature'")] == [None]
    build(tmp_path / "warehouse")
    assert members(store, "war") == [1, OPERATOR]
    assert [row["collection"] for row in rows(store, "from list_members")] == [COLLECTION, COLLECTION]
    assert noted(store) == ["a note"]


def test_a_kill_between_two_writes_loses_nothing_that_was_written_and_shows_nothing_half(store):
    program = f"""
import sys
from warehouse.lists import changes
from warehouse.lists.items import Item
from warehouse.storage.warehouse import Warehouse
store = Warehouse({store.root!r})
for i in range(1000):
    changes.add(store, "war", [Item("feature", "x", i), Item("feature", "y", i)])
    print(i, flush=True)
"""
    process = subprocess.Popen([sys.executable, "-c", program], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    written = [int(process.stdout.readline()) for _ in range(4)]
    process.send_signal(signal.SIGKILL)
    written += [int(line) for line in process.stdout.read().split()]
    process.wait()
    found = rows(store, "select weights_hash, feature_id from list_members where list = 'war'")
    pairs = {(row["weights_hash"], row["feature_id"]) for row in found}
    assert pairs >= {(weights, i) for i in written for weights in "xy"}
    assert len(pairs) % 2 == 0, "a change is there whole or not at all"
    changes.add(store, "war", named(store, "4/1"))  # the lock of a killed process is free
    assert not failures(check_all(store))


def test_two_writers_at_once_make_one_list_and_lose_nothing(store):
    with ThreadPoolExecutor(2) as pool:
        done = [pool.submit(changes.add, Warehouse(store.root), "war", [Item(FEATURE, "x", i)]) for i in range(12)]
        assert sum(one.result() for one in done) == 12
    assert [row["n_features"] for row in rows(store, "from lists")] == [12]
    keys = [change.key for change in change_log.changes(store)]
    assert keys == sorted(keys)
    assert len(keys) == 12


def test_a_clock_that_is_behind_does_not_put_a_change_before_what_it_was_decided_on(store, monkeypatch):
    changes.add(store, "war", named(store, "4/1"))
    (before,) = change_log.changes(store)

    class Slow(change_log.datetime):
        @classmethod
        def now(cls, tz=None):
            return before.made_at.replace(year=2020)

    monkeypatch.setattr(change_log, "datetime", Slow)
    changes.remove(store, "war", named(store, "4/1"))
    assert members(store, "war") == []


def test_where_lists_are_read_only_a_change_is_refused_in_one_line(store, monkeypatch):
    changes.add(store, "war", named(store, "4/1"))
    monkeypatch.setenv("ATO_READ_ONLY", "1")
    with pytest.raises(UnavailableError, match="lists and notes are read-only here") as caught:
        changes.add(store, "war", named(store, "4/2"))
    assert "\n" not in str(caught.value)
    assert members(store, "war") == [1]
    monkeypatch.setenv("ATO_READ_ONLY", "0")
    monkeypatch.setattr(
        type(store.storage), "check_writable", lambda self: (_ for _ in ()).throw(UnavailableError("no"))
    )
    with pytest.raises(UnavailableError):
        changes.delete(store, "war")


def test_checks_cover_the_log_and_a_damaged_change_is_named(store):
    changes.add(store, "war", named(store, "4/1"))
    changes.add(store, "war", named(store, "4/2"))
    found = check_all(store)
    assert not failures(found)
    assert {"a list was created before it was changed", "key is unique"} <= {
        row["expectation"] for row in found if row["table_name"] == "list_changes"
    }
    path = store.storage.names("list_changes")[0]
    data = store.storage.read(path)
    Path(store.storage.url(path)).write_bytes(data[:-1])
    with pytest.raises(DamagedFileError, match=r"damaged file .*list_changes.*one change of a list"):
        rows(store, "from lists")
    assert rows(store, "select count(*) as n from saes")[0]["n"] == 1
    assert failures(check_all(store))
    Path(store.storage.url(path)).write_bytes(data[:100] + bytes([data[100] ^ 1]) + data[101:])
    assert any("SHA-256" in row["expectation"] for row in failures(check_all(store)))


def test_an_open_connection_is_told_of_changes_and_other_clients_have_the_views(store):
    from warehouse.catalog.catalog import renew_lists

    with connect(store) as connection:
        assert connection.sql("select count(*) from list_members").fetchall() == [(0,)]
        changes.add(store, "war", named(store, "4/1"))
        renew_lists(connection, store)
        assert connection.sql("select list, feature_id from list_members").fetchall() == [("war", 1)]
        comments = dict(connection.sql("select view_name, comment from duckdb_views() where not internal").fetchall())
        assert comments["list_changes"].startswith("one row: one change")
        assert comments["lists"].startswith("the named lists")
