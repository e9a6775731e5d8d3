"""Files appear whole or not at all; a full disk is named and leaves nothing behind."""

import errno
import gc
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ato.errors import DiskFullError
from tests.warehouse.storage.training_files import files_below, write_training
from warehouse.storage import local_storage
from warehouse.storage.backends import LocalStorage, ObjectStorage, open_storage
from warehouse.storage.staging import remove_leftover, staging_name


def test_full_disk_is_named_and_leaves_nothing_behind(store, training_rows, monkeypatch):
    write_training(store, training_rows(), "before")
    before = files_below(store)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(local_storage, "sync", full)
    with pytest.raises(DiskFullError, match=r"no space left to write \d+ bytes .*part-after.parquet.*: free some"):
        write_training(store, training_rows(), "after")
    assert files_below(store) == before


@pytest.mark.skipif(not Path("/dev/full").is_char_device(), reason="needs the device /dev/full")
def test_full_disk_met_by_whoever_writes_an_artifact_is_named(store):
    def write(path):
        path.write_bytes(b"half")
        with open("/dev/full", "wb") as full:
            full.write(b"x")

    with pytest.raises(DiskFullError, match="artifacts/moments/m"):
        store.publish_artifact(write, "moments", "m")
    assert files_below(store) == ["warehouse.json"]


def test_full_disk_met_by_a_native_writer_is_named(store):
    def write(path):
        raise RuntimeError("I/O error: No space left on device (os error 28)")

    with pytest.raises(DiskFullError):
        store.publish_artifact_folder(write, "saes", "s")
    assert files_below(store) == ["warehouse.json"]


@pytest.fixture(params=["local", "memory"])
def storage(request, tmp_path):
    """An empty storage: a folder, and a store of objects in memory."""
    return open_storage(tmp_path / "w" if request.param == "local" else f"memory://{tmp_path.name}/w")


def test_a_root_with_a_scheme_is_an_object_store_and_all_else_a_folder(tmp_path):
    assert isinstance(open_storage("memory://somewhere"), ObjectStorage)
    for root in (tmp_path, str(tmp_path), f"file://{tmp_path}"):
        found = open_storage(root)
        assert isinstance(found, LocalStorage)
        assert found.root == str(tmp_path)


def test_what_is_put_is_read_listed_and_removed_by_its_path(storage):
    storage.put("table/collection=c/part-0.parquet", b"abc")
    assert storage.read("table/collection=c/part-0.parquet") == b"abc"
    assert storage.names("table") == ["table/collection=c/part-0.parquet"]
    assert storage.sizes(["table/collection=c/part-0.parquet", "table/gone"]) == {
        "table/collection=c/part-0.parquet": 3
    }
    assert [entry.bytes for entry in storage.entries("table").values()] == [3]
    for _ in range(2):  # the second time there is nothing to remove
        storage.remove("table/collection=c/part-0.parquet")
    assert storage.read("table/collection=c/part-0.parquet") is None
    assert storage.names("table") == []


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(storage):
    storage.put("a/file", b"old")

    def write(path):
        path.write_bytes(b"new")
        assert storage.read("a/file") == b"old"
        assert storage.names("a") == ["a/file"], "a staging file is no file of the warehouse"

    size, sha256 = storage.publish("a/file", write)
    assert (size, sha256) == (3, "11507a0e2f5e69d5dfa40a62a1bd7b6ee57e6bcd85c67c9b8431b36fff21c437")
    assert storage.read("a/file") == b"new"


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(storage):
    storage.put("a/file", b"old")

    def write(path):
        path.write_bytes(b"ne")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        storage.publish("a/file", write)
    assert storage.read("a/file") == b"old"
    assert storage.leftovers() == {}


def test_a_staged_file_is_seen_once_it_is_finished_and_removed_if_it_never_is(storage):
    finish = storage.stage("a/file", lambda path: path.write_bytes(b"new"))
    assert storage.read("a/file") is None
    assert finish()[0] == 3
    assert storage.read("a/file") == b"new"
    abandoned = storage.stage("a/other", lambda path: path.write_bytes(b"new"))
    staged = list(Path(storage.root).rglob("*other")) if storage.is_local else []
    assert bool(staged) == storage.is_local
    del abandoned
    gc.collect()
    assert not any(path.exists() for path in staged)
    assert storage.read("a/other") is None


def test_leftovers_are_those_of_dead_processes_alone(tmp_path):
    storage = LocalStorage(tmp_path / "w")
    storage.put("table/part-0.parquet", b"abc")
    program = "import sys; from warehouse.storage.staging import staging_name; print(staging_name('part-1.parquet'))"
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    dead, own = (tmp_path / "w" / "table" / name for name in (run.stdout.strip(), staging_name("part-2.parquet")))
    for path in (dead, own):
        path.write_bytes(b"half")
    assert storage.leftovers() == {str(dead): 4}
    remove_leftover(str(dead))
    assert sorted(os.listdir(tmp_path / "w" / "table")) == sorted([own.name, "part-0.parquet"])


def test_folders_that_a_removal_leaves_empty_go_up_to_the_table(tmp_path):
    storage = LocalStorage(tmp_path)
    for name in ("table/collection=c/layer=1/part-0.parquet", "table/collection=d/part-0.parquet"):
        storage.put(name, b"abc")
    storage.remove("table/collection=c/layer=1/part-0.parquet")
    assert sorted(os.listdir(tmp_path / "table")) == ["collection=d"]
    storage.remove("table/collection=d/part-0.parquet")
    assert os.listdir(tmp_path) == ["table"]


def test_a_name_in_an_object_store_is_created_once():
    storage = open_storage("memory://create-once/w")
    assert storage.create("locks/a.0", b"first")
    assert not storage.create("locks/a.0", b"second")
    assert storage.read("locks/a.0") == b"first"
