"""Stage runs: keys follow what made a result, and a stage is complete when its manifest and its files are."""

import os
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ato.errors import DamagedFileError, InputError
from warehouse.catalog.catalog import connect, rows
from warehouse.storage.manifests import (
    ADDED_LATER,
    FAILED,
    Batch,
    canonical_json,
    manifest,
    manifest_path,
    manifests,
    stage_key,
    stage_problem,
)


@pytest.fixture
def committed(store, training_rows, commit_files):
    """A committed stage: its manifest."""
    files = [
        store.write_rows("sae_training", training_rows(), "saes-1", collection="c", sae="s"),
        store.publish_artifact(lambda path: path.write_bytes(b"weights"), "saes", "s"),
    ]
    return commit_files(store, files, inputs=["c", "d"], tokens_run=7)


def test_key_is_readable_and_follows_settings_and_inputs_only():
    key = stage_key("SmolLM2 135M/demo", {"alpha": 1.0, "rank": None}, ["a", "b"])
    assert key.startswith("smollm2-135m-demo-")
    assert len(key.rsplit("-", 1)[1]) == 8
    assert key == stage_key("SmolLM2 135M/demo", {"rank": None, "alpha": 1.0}, ["a", "b"])
    others = [stage_key("x", {"alpha": 2.0}), stage_key("x", {"alpha": 1.0}), stage_key("x", {"alpha": 1.0}, ["a"])]
    assert len(set(others)) == 3


def test_key_is_the_same_in_every_process():
    assert stage_key("x", {"b": [1, 2.5, "é"], "a": None}, ["i"]) == "x-2db000f4"


@pytest.mark.parametrize("value", [float("nan"), Path("x"), {1, 2}])
def test_settings_without_a_canonical_form_are_refused(value):
    with pytest.raises(InputError, match="JSON"):
        canonical_json({"a": value})


def test_stage_is_complete_only_once_its_manifest_is_written(store, training_rows, commit_files):
    assert stage_problem(store, "saes", "saes-1") == "never completed"
    file = store.write_rows("sae_training", training_rows(), "saes-1", collection="c", sae="s")
    assert stage_problem(store, "saes", "saes-1") is not None
    commit_files(store, [file])
    assert stage_problem(store, "saes", "saes-1") is None
    assert stage_problem(store, "saes", "saes-2") is not None


def test_manifest_comes_back_as_it_was_committed(store, committed):
    assert manifest(store, "saes", "saes-1") == committed
    assert manifests(store) == [committed]
    assert (committed.rows, committed.settings, committed.inputs) == (3, '{"k":8}', ("c", "d"))
    assert committed.bytes == sum(f.bytes for f in committed.files)


def test_what_a_batch_cost_comes_back(store, commit_files):
    batch = Batch("saes-1", batch_stages=3, batch_seconds=9.0, cpu_seconds=4.0, peak_memory=10**9)
    run = commit_files(store, [], batch=batch)
    assert manifest(store, "saes", "saes-1") == run
    assert (run.batch, run.batch_stages, run.batch_seconds) == ("saes-1", 3, 9.0)
    assert run.finished_at - run.started_at == timedelta(seconds=9)


def as_of_before(store, stage, key):
    """Take the columns that were added later out of a manifest."""
    path = Path(store.root, manifest_path(stage, key))
    pq.write_table(pq.ParquetFile(path).read().drop_columns(list(ADDED_LATER)), path)


def test_a_manifest_of_before_is_read_and_shows_null_for_what_it_lacks(store, commit_files):
    batch = Batch("b", batch_stages=1, batch_seconds=2.0, cpu_seconds=4.0, peak_memory=5)
    for key, more in (("a", {}), ("b", {"batch": batch}), ("c", {})):
        commit_files(store, [], key=key, **more)
    query = "select key, seconds, batch_seconds, cpu_seconds, peak_memory from stage_runs order by key"
    new = {"key": "b", "seconds": 1.5, "batch_seconds": 2.0, "cpu_seconds": 4.0, "peak_memory": 5}
    old = {"seconds": 1.5, "batch_seconds": None, "cpu_seconds": None, "peak_memory": None}
    for key in ("a", "c"):
        as_of_before(store, "saes", key)
    assert stage_problem(store, "saes", "a") is None
    assert rows(store, query) == [{"key": "a"} | old, new, {"key": "c"} | old]
    assert rows(store, "select seconds, cpu_seconds, peak_memory from stage_overview") == [
        {"seconds": 4.5, "cpu_seconds": 4.0, "peak_memory": 5}
    ]
    as_of_before(store, "saes", "b")
    assert rows(store, query)[1] == {"key": "b"} | old
    assert connect(store).sql("select count(*), count(batch) from stage_runs").fetchall() == [(3, 0)]


def test_committing_again_replaces_the_manifest(store, committed, commit_files):
    again = commit_files(store, committed.files, seconds=9.0)
    assert manifests(store) == [again]


@pytest.mark.parametrize("number", [0, 1])
def test_missing_and_short_files_make_a_stage_incomplete_and_are_named(store, committed, number):
    file = committed.files[number]
    path = Path(store.root, file.path)
    content = path.read_bytes()
    os.truncate(path, 3)
    assert stage_problem(store, "saes", "saes-1") == f"{file.path}: 3 bytes found, {file.bytes} expected"
    path.unlink()
    assert stage_problem(store, "saes", "saes-1") == f"{file.path}: missing, {file.bytes} bytes expected"
    path.write_bytes(content)
    assert stage_problem(store, "saes", "saes-1") is None


def test_failed_quality_is_not_complete(store, committed, commit_files):
    commit_files(store, committed.files, quality=FAILED)
    assert stage_problem(store, "saes", "saes-1") == "quality failed"
    with pytest.raises(InputError, match="invalid quality 'good'"):
        commit_files(store, committed.files, quality="good")


def test_unreadable_manifest_is_a_reason_to_run_again(store, committed):
    path = Path(store.root, manifest_path("saes", "saes-1"))
    os.truncate(path, 40)
    assert stage_problem(store, "saes", "saes-1") == "manifest cannot be read"
    with pytest.raises(DamagedFileError, match=r"part-saes-1\.parquet\): run the `ato run` that made it again"):
        manifests(store)
