"""The store: declared rows only, files whole or not at all, the same bytes for the same rows."""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ato.errors import InputError, SchemaVersionError
from tests.warehouse.storage.training_files import files_below, write_training
from warehouse.catalog.catalog import connect
from warehouse.storage.warehouse import Warehouse


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "..", "a=b", "x y", ".staging-1"])
def test_names_that_could_leave_their_folder_are_refused(store, training_rows, name):
    with pytest.raises(InputError, match="cannot name a file"):
        write_training(store, training_rows(), sae=name)
    with pytest.raises(InputError, match="cannot name a file"):
        store.artifact_path("saes", name)


def test_artifacts_appear_whole_or_not_at_all(store):
    record = store.publish_artifact(lambda path: path.write_bytes(b"abc"), "operators", "L01-k02.safetensors")
    assert store.artifact_path("operators", "L01-k02.safetensors").read_bytes() == b"abc"
    assert (record.path, record.table_name, record.bytes) == ("artifacts/operators/L01-k02.safetensors", "artifacts", 3)
    assert record.sha256 == hashlib.sha256(b"abc").hexdigest()

    def interrupted(path):
        path.write_bytes(b"ab")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.publish_artifact(interrupted, "operators", "other.safetensors")
    assert files_below(store) == ["artifacts/operators/L01-k02.safetensors", "warehouse.json"]


def test_artifact_folders_are_published_file_by_file_and_can_be_rebuilt(store):
    def write(folder):
        (folder / "cfg.json").write_text("{}")
        (folder / "weights.safetensors").write_bytes(b"w")

    first = store.publish_artifact_folder(write, "saes", "sae-1")
    assert [f.path for f in first] == ["artifacts/saes/sae-1/cfg.json", "artifacts/saes/sae-1/weights.safetensors"]
    store.artifact_path("saes", "sae-1", "cfg.json").unlink()
    assert store.problem(first[0]) == "missing, 2 bytes expected"
    assert store.publish_artifact_folder(write, "saes", "sae-1") == first
    assert store.problem(first[0]) is None
    assert files_below(store) == [*(f.path for f in first), "warehouse.json"]


def test_warehouse_of_another_schema_is_refused(store, training_rows):
    write_training(store, training_rows())
    Path(store.root, "warehouse.json").write_text('{"schema_version": 0}')
    with pytest.raises(SchemaVersionError, match=r"written with schema 0, this version reads 6.*ATO_WAREHOUSE"):
        Warehouse(store.root)


def test_opening_a_warehouse_creates_nothing(tmp_path):
    assert Warehouse(tmp_path / "none").damage([]) == {}
    assert not (tmp_path / "none").exists()


def test_root_comes_from_argument_then_environment_then_default(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("ATO_WAREHOUSE", raising=False)
    assert Warehouse().root == str(tmp_path / "data" / "warehouse")
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "env"))
    assert Warehouse().root == str(tmp_path / "env")
    assert Warehouse(tmp_path / "given").root == str(tmp_path / "given")


def test_writers_of_the_same_key_at_once_do_not_corrupt_it(store, training_rows):
    with ThreadPoolExecutor(8) as pool:
        records = set(pool.map(lambda _: write_training(Warehouse(store.root), training_rows(n=50)), range(16)))
    (record,) = records
    assert store.problem(record) is None
    assert pq.ParquetFile(Path(store.root, record.path)).read().num_rows == 50
    assert files_below(store) == [record.path, "warehouse.json"]


def test_object_store_holds_the_same_bytes_and_answers_the_same_queries(store, training_rows, commit_files):
    remote = Warehouse("memory://bucket/prefix")
    records = [write_training(w, training_rows()) for w in (store, remote)]
    assert records[0] == records[1]
    answers = []
    for warehouse, record in zip((store, remote), records):
        artifact = warehouse.publish_artifact(lambda path: path.write_bytes(b"abc"), "moments", "m")
        assert warehouse.artifact_path("moments", "m").read_bytes() == b"abc"
        commit_files(warehouse, [record, artifact])
        answers.append(connect(warehouse).sql("select * from sae_training order by step").fetchall())
    assert answers[0] == answers[1]
    assert len(answers[0]) == 3
    assert remote.problem(records[1]) is None
