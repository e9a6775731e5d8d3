"""The store: declared rows only, files whole or not at all, the same bytes for the same rows."""

import errno
import hashlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ato.errors import DataError, DiskFullError, InputError, NonFiniteError, SchemaVersionError
from warehouse.catalog.catalog import connect
from warehouse.storage import backends
from warehouse.storage.parquet import null_where, null_where_nan
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES


def files_below(warehouse):
    return sorted(p.relative_to(warehouse.root).as_posix() for p in Path(warehouse.root).rglob("*") if p.is_file())


def write_training(warehouse, rows, part="k", sae="s"):
    return warehouse.write_rows("sae_training", rows, part, collection="c", sae=sae)


def test_partition_columns_are_declared_columns():
    assert all(set(t.partition) <= {c.name for c in t.columns} for t in TABLES.values())
    assert all(set(t.key) <= {c.name for c in t.columns} for t in TABLES.values())


def test_file_has_the_declared_types_and_is_described_by_its_record(store, training_rows):
    record = write_training(store, training_rows(n=3))
    path = Path(store.root, record.path)
    assert record.path == "sae_training/collection=c/sae=s/part-k.parquet"
    assert (record.rows, record.bytes) == (3, path.stat().st_size)
    assert record.sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    schema = pq.ParquetFile(path).schema_arrow
    declared = [c for c in TABLES["sae_training"].columns if c.name not in ("collection", "sae")]
    assert [(f.name, f.type, f.nullable) for f in schema] == [(c.name, c.type, c.nullable) for c in declared]


def test_equal_rows_give_equal_bytes_whatever_their_order_and_container(store, training_rows):
    columns = training_rows(n=5)
    as_lists = {name: np.asarray(values).tolist() for name, values in columns.items()}
    as_rows = [dict(zip(as_lists, row)) for row in zip(*as_lists.values())]
    hashes = {
        write_training(store, rows, part).sha256
        for part, rows in (("a", columns), ("b", pa.table(as_lists)), ("c", as_rows), ("d", as_rows[::-1]))
    }
    assert len(hashes) == 1


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nan_and_infinity_are_refused_with_table_column_and_key(store, training_rows, bad):
    with pytest.raises(NonFiniteError, match=r"mse .*sae_training, collection=c, sae=s, step=1\b"):
        write_training(store, training_rows(mse=[0.5, bad, 0.5]))
    assert not files_below(store)


def test_large_finite_values_are_not_taken_for_infinity(store, training_rows):
    assert write_training(store, training_rows(mse=[1.7e308] * 3)).rows == 3


def test_nan_becomes_null_only_by_explicit_conversion():
    assert null_where_nan(np.array([1.0, np.nan])).to_pylist() == [1.0, None]
    assert null_where(np.array([3, 4]), [True, False]).to_pylist() == [None, 4]
    rows = {"operator": ["o", "o"], "source_layer": [0, 0], "leap": [1, 1], "target_layer": [1, 1], "alpha": [1.0, 2.0]}
    rows |= {"method": ["ridge"] * 2, "l1_ratio": [None, None], "fold": [0, 0]}
    with pytest.raises(NonFiniteError, match="column r2 "):
        Warehouse("unused").write_rows("operator_cv", rows | {"r2": [0.5, np.nan]}, "k", collection="c")


def test_null_is_refused_where_a_value_is_due(store, training_rows):
    with pytest.raises(DataError, match=r"column lr is NULL .*step=2"):
        write_training(store, training_rows(lr=[0.1, 0.1, None]))


def test_missing_unknown_and_ragged_columns_are_refused(store, training_rows):
    rows = training_rows()
    with pytest.raises(DataError, match=r"missing columns \['lr'\]"):
        write_training(store, {name: v for name, v in rows.items() if name != "lr"})
    with pytest.raises(DataError, match=r"unknown columns \['speed'\]"):
        write_training(store, rows | {"speed": [1, 2, 3]})
    with pytest.raises(DataError, match="differ in length"):
        write_training(store, rows | {"lr": [0.1]})
    with pytest.raises(DataError, match="row 1 and row 0 differ"):
        write_training(store, [{"step": 1}, {"tokens": 2}])
    with pytest.raises(InputError, match="no table 'sae_trainings'"):
        store.write_rows("sae_trainings", rows, "k", collection="c")


@pytest.mark.parametrize(
    "step", [[0, 1, 2.5], np.array([0, 1, 2.5]), ["0", "1", "2"], np.array([0, 1, 2**63], np.uint64)]
)
def test_values_are_cast_only_where_nothing_is_lost(store, training_rows, step):
    assert write_training(store, training_rows(step=np.array([0, 1, 2], dtype=np.int16))).rows == 3
    with pytest.raises(DataError, match="column step is not int64"):
        write_training(store, training_rows(step=step))


def test_columns_of_the_partition_must_agree_with_it(store, training_rows):
    assert write_training(store, training_rows(sae=["s"] * 3)).rows == 3
    with pytest.raises(DataError, match="sae=s"):
        write_training(store, training_rows(sae=["s", "t", "s"]))
    with pytest.raises(DataError, match="partition is"):
        store.write_rows("sae_training", training_rows(), "k", collection="c")


@pytest.mark.parametrize("name", ["../up", "a/b", "", ".", "..", "a=b", "x y", ".staging-1"])
def test_names_that_could_leave_their_folder_are_refused(store, training_rows, name):
    with pytest.raises(InputError, match="cannot name a file"):
        write_training(store, training_rows(), sae=name)
    with pytest.raises(InputError, match="cannot name a file"):
        store.artifact_path("saes", name)


def test_residuals_are_stored_plain_with_fixed_width(store):
    rows = {
        "sequence_id": [0, 0],
        "position": [0, 1],
        "token_id": [5, 6],
        "norm": [1.0, 1.0],
        "residual": torch.eye(2, 8),
    }
    record = store.write_rows("activations", rows, "00000", collection="c", layer=3)
    parquet = pq.ParquetFile(Path(store.root, record.path))
    kind = parquet.schema_arrow.field("residual").type
    chunk = parquet.metadata.row_group(0).column(4)
    assert (kind.list_size, kind.value_type, kind.value_field.nullable) == (8, pa.float32(), False)
    assert (chunk.path_in_schema, chunk.compression, chunk.statistics) == (
        "residual.list.element",
        "UNCOMPRESSED",
        None,
    )
    assert not {"PLAIN_DICTIONARY", "RLE_DICTIONARY"} & set(chunk.encodings)
    with pytest.raises(DataError, match="residual is not"):
        store.write_rows("activations", rows | {"residual": torch.eye(2, 8).double()}, "1", collection="c", layer=3)


def test_full_disk_is_named_and_leaves_nothing_behind(store, training_rows, monkeypatch):
    write_training(store, training_rows(), "before")
    before = files_below(store)

    def full(path):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(backends, "sync", full)
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
    with pytest.raises(SchemaVersionError, match=r"written with schema 0, this version reads 2.*ATO_WAREHOUSE"):
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
