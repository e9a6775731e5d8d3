"""A warehouse answers alike wherever it lies: below folders named like partitions, with any character, moved or copied."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import duckdb
import pytest

from ato.errors import InputError, UnavailableError
from tests.warehouse.small_warehouse import COLLECTION, LAYERS, build
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.marts import MATERIALISED
from warehouse.catalog.materialise import materialise
from warehouse.catalog.published import publish
from warehouse.catalog.query import run_select
from warehouse.datasets.stored_source import StoredSource
from warehouse.maintenance.retention import plan
from warehouse.quality.rules import check_rules
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

NAMES = {
    "layer=12/collection=x/model=gpt2/stage=a/sae=s/r2=0.5/source_layer=1": "elsewhere",
    "q?x[a-c]{a,b}st*r": "qaxbastar",
    'a b it\'s "so" ha#sh 50%20 a,b;c:d é語\n-$HOME&x=y': "elsewhere",
    "back\\slash": "back/slash",
}
"""Folder of the warehouse -> another folder, whose rows a reader must not find instead."""
FACTS = "select layer, count(*) as n from activations group by layer order by layer"


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    """The small warehouse, with its marts as files and its catalog."""
    warehouse = build(tmp_path_factory.mktemp("original") / "warehouse")
    materialise(warehouse, COLLECTION)
    publish(warehouse)
    return warehouse


@pytest.fixture(scope="module")
def expected(original):
    """Every row of every table and mart."""
    return everything(connect(original))


def everything(connection):
    """The rows of all tables and of the marts that are kept in files, each with its columns first."""
    found = {name: connection.sql(f"from {name}") for name in (*TABLES, *MATERIALISED)}
    return {name: relation.columns + sorted(map(repr, relation.fetchall())) for name, relation in found.items()}


def copied(original, folder):
    """A copy of the warehouse in a folder."""
    shutil.copytree(original.root, folder / "warehouse")
    return Warehouse(folder / "warehouse")


@pytest.mark.parametrize("name", NAMES)
def test_every_table_and_mart_has_the_same_rows_in_a_folder_of_any_name(name, original, expected, tmp_path):
    for file in Path(copied(original, tmp_path / NAMES[name]).root).rglob("*.parquet"):
        file.write_bytes(b"the rows of another warehouse")
    store = copied(original, tmp_path / name)
    assert everything(connect(store)) == expected
    assert rows(store, FACTS) == [{"layer": layer, "n": 12} for layer in LAYERS]
    assert next(StoredSource(store, COLLECTION).blocks()).layers == LAYERS
    assert not plan(store).removals
    shutil.rmtree(Path(store.root, "marts"))
    assert len(materialise(store, COLLECTION)) == len(MATERIALISED)
    path = publish(store)
    if "\\" not in name:  # DuckDB itself opens no file below a backslash
        with duckdb.connect(path, read_only=True) as client:
            assert everything(client) == expected


def test_checks_read_the_files_of_this_warehouse_with_its_own_partitions(original, tmp_path):
    store = copied(original, tmp_path / "layer=12" / "[a-c]{x,y}'?*")
    files = [file for run in manifests(store) for file in run.files if file.table_name != "activations"]
    findings = check_rules(store, files, [], None)
    assert [finding for finding in findings if not finding.success] == []
    assert {finding.table for finding in findings} >= {"collections", "saes", "operators"}


def test_a_copied_catalog_reads_the_copy_from_any_folder_and_also_when_the_original_is_gone(
    original, expected, tmp_path, monkeypatch
):
    moved = copied(original, tmp_path / "first")
    publish(moved)
    copy = tmp_path / "second" / "copy"
    shutil.copytree(moved.root, copy)
    changed = Path(copy, "benchmark_results")
    for here, path in (
        (tmp_path, "second/copy/warehouse.duckdb"),
        (copy, "warehouse.duckdb"),
        ("/", copy / "warehouse.duckdb"),
    ):
        monkeypatch.chdir(here)
        with duckdb.connect(str(path), read_only=True) as client:
            assert everything(client) == expected
            saes = "read_parquet(warehouse_folder() || 'saes/**/*.parquet', filename = true)"
            files = client.sql(f"select distinct filename from {saes}")
            assert all(file.startswith(str(copy)) or not file.startswith("/") for (file,) in files.fetchall())
    assert not changed.exists()
    file = next(Path(copy, "saes").rglob("*.parquet"))
    file.unlink()
    with (
        duckdb.connect(str(copy / "warehouse.duckdb"), read_only=True) as client,
        pytest.raises(duckdb.IOException, match="second/copy"),
    ):
        client.sql("from saes").fetchall()
    shutil.rmtree(moved.root)
    with duckdb.connect(str(copy / "warehouse.duckdb"), read_only=True) as client:
        assert client.sql("select count(*) from operators").fetchall() == [(1,)]


def test_an_attached_catalog_answers_where_it_was_published_and_refuses_elsewhere(original, tmp_path):
    store = copied(original, tmp_path / "first")
    publish(store)
    shutil.copytree(store.root, tmp_path / "copy")
    with duckdb.connect() as client:
        client.execute(f"attach '{store.root}/warehouse.duckdb' as w (read_only)")
        assert client.sql("select count(*) from w.operators").fetchall() == [(1,)]
    with duckdb.connect() as client:
        client.execute(f"attach '{tmp_path}/copy/warehouse.duckdb' as w (read_only)")
        with pytest.raises(duckdb.Error, match=r"open its file by itself, or publish it again"):
            client.sql("from w.operators").fetchall()
    with duckdb.connect(f"{tmp_path}/copy/warehouse.duckdb", read_only=True) as client:
        client.execute(f"attach '{original.root}/warehouse.duckdb' as w (read_only)")
        with pytest.raises(duckdb.Error, match="beside another warehouse"):
            client.sql("from w.operators").fetchall()


def test_the_published_catalog_has_the_storage_version_that_duckdb_1_2_reads(original):
    header = Path(original.root, "warehouse.duckdb").read_bytes()[:20]
    assert header[8:12] == b"DUCK"
    assert int.from_bytes(header[12:20], "little") == 65  # 64 is DuckDB 0.9 to 1.1, 65 is 1.2


def test_publication_removes_a_write_ahead_log_that_another_client_left(original, expected, tmp_path):
    store = copied(original, tmp_path / "first")
    path = Path(store.root, "warehouse.duckdb")
    code = f"import duckdb, os; c = duckdb.connect({str(path)!r}); c.execute('create table t as select 1'); os._exit(1)"
    subprocess.run([sys.executable, "-c", code], check=False)
    assert Path(f"{path}.wal").stat().st_size
    of_another = "select count(*) from duckdb_tables() where table_name = 't'"
    shutil.copy(publish(copied(original, tmp_path / "second")), path)
    with duckdb.connect(str(path), read_only=True) as client:
        assert client.sql(of_another).fetchall() == [(1,)]
    publish(store)
    assert not Path(f"{path}.wal").exists()
    with duckdb.connect(str(path), read_only=True) as client:
        assert client.sql(of_another).fetchall() == [(0,)]
        assert everything(client) == expected


def test_a_query_that_spills_does_so_in_the_temporary_folder_not_in_the_working_folder(original, tmp_path, monkeypatch):
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    monkeypatch.chdir("/proc")  # nothing can be created there, whoever asks
    db = connect(original, read_only=False)
    db.execute("set memory_limit = '40MB'; set threads = 1")
    found = run_select(
        db, "select count(*) from (select i, hash(i) as h from range(4000000) r(i) order by h desc, i)", seconds=60
    )
    assert found.fetchall() == [(4_000_000,)]
    assert db.sql("select current_setting('temp_directory')").fetchall()[0][0].startswith(str(tmp_path / "temporary"))
    db.close()
    assert list((tmp_path / "temporary").iterdir()) == []


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("file", "is a file, not a folder"),
        ("below a file", "is a file, not a folder"),
        ("link", "is a link to nothing"),
        ("below a link", "is a link to nothing"),
        ("empty", "the warehouse has no name"),
        ("blank", "the warehouse has no name"),
        ("unreadable", "cannot be read"),
        ("pattern", "DuckDB cannot name files"),
    ],
)
def test_a_root_that_cannot_be_a_warehouse_is_refused_on_one_line(kind, message, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    (tmp_path / "link").symlink_to("nowhere")
    (tmp_path / "unreadable").mkdir()
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: "unreadable" not in str(path) and access(path, mode))
    roots = {"empty": "", "blank": " ", "pattern": f"{tmp_path}/a\\b*"}
    root = roots.get(kind, str(tmp_path / kind.replace("below a ", "")) + ("/x/y" if "below" in kind else ""))
    monkeypatch.setenv("ATO_WAREHOUSE", root)
    with pytest.raises(InputError, match=message) as error:
        Warehouse()
    assert "\n" not in str(error.value)
    with pytest.raises(InputError, match=message):
        connect()


def test_a_folder_that_cannot_be_written_is_an_error_of_one_line_at_the_start_and_at_a_write(tmp_path, training_rows):
    store = Warehouse("/proc/warehouse")
    with pytest.raises(UnavailableError, match=r"cannot be written: .*\(/proc/warehouse\): point ATO_WAREHOUSE"):
        store.storage.check_writable()
    Warehouse(tmp_path / "new" / "warehouse").storage.check_writable()
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_warehouse_is_an_error_and_one_that_was_created_has_every_table_empty(tmp_path):
    with pytest.raises(InputError, match=r"there is no warehouse .*ato run pipeline"):
        connect(tmp_path / "nowhere")
    assert not list(tmp_path.iterdir())
    db = connect(Warehouse(tmp_path / "new").create())
    assert all(db.sql(f"from {table}").fetchall() == [] for table in TABLES)


def test_an_object_store_takes_keys_with_any_character(expected):
    store = build("memory://q?x[a-c]{a,b}st*r#50%20 é;:,/layer=12/warehouse")
    found = everything(connect(store))
    assert found == expected
    assert publish(store).endswith("/layer=12/warehouse/warehouse.duckdb")
