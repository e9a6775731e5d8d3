"""Retention: only what nobody needs goes, dry run first, and a crash on the way shows nobody half of it."""

import os
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from ato.errors import InputError
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.published import publish
from warehouse.maintenance import retention
from warehouse.registry.registry import Registry
from warehouse.storage import staging
from warehouse.storage.locks import held
from warehouse.storage.manifests import manifests

OLD = time.time() - 2 * retention.GRACE_SECONDS


def files_below(warehouse):
    return set(warehouse.storage.entries())


def make_old(warehouse, *paths):
    for path in paths:
        os.utime(Path(warehouse.root, path), (OLD, OLD))


def remove(warehouse, *collections, older_than=None):
    """Carry a plan out; returns the paths that went."""
    before = files_below(warehouse)
    found = retention.plan(warehouse, collections, older_than)
    assert files_below(warehouse) == before  # a plan removes nothing
    retention.carry_out(warehouse, found)
    gone = before - files_below(warehouse)
    assert gone == {removal.path for removal in found.manifests + found.files}
    return gone


@pytest.fixture
def two_collections(store, training_rows, commit_files, make_block, store_collection):
    """Collections ``c`` and ``d``, a stage of each, artifacts, reports, a published catalog."""
    for key in "cd":
        store_collection(store, [make_block(range(5), [1, 2], d=4)], key)
        files = [
            store.write_rows("sae_training", training_rows(), f"saes-{key}", collection=key, sae=f"s-{key}"),
            store.publish_artifact(lambda path: path.write_bytes(b"weights"), "saes", f"s-{key}"),
        ]
        commit_files(store, files, "saes", f"saes-{key}", key, inputs=[key])
        store.publish_artifact(lambda path: path.write_text("page"), "reports", key, "report.html")
    publish(store)
    return store


def test_nothing_of_a_whole_warehouse_goes(two_collections):
    make_old(two_collections, *files_below(two_collections))
    assert retention.plan(two_collections).removals == []


def test_staging_of_dead_processes_goes_and_of_live_ones_stays(store, training_rows):
    record = store.write_rows("sae_training", training_rows(), "k", collection="c", sae="s")
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    folder = Path(store.root, record.path).parent
    live = folder / staging.staging_name("part-x.parquet")
    host, rest = live.name.split("-")[2], "0-part-x.parquet"
    stale = folder / f".staging-{dead.pid}-{host}-{rest}"
    young, old = (folder / f".staging-{dead.pid}-{letter * 8}-{rest}" for letter in "ef")  # of other machines
    for path in (live, stale, young, old):
        path.write_bytes(b"half")
    scratch = folder / f".staging-{dead.pid}-{host}-{rest}-folder"
    scratch.mkdir()
    (scratch / "weights").write_bytes(b"weights")
    os.utime(old, (OLD, OLD))
    found = retention.plan(store)
    assert {removal.path for removal in found.leftovers} == {str(stale), str(old), str(scratch)}
    assert found.bytes == 4 + 4 + 7
    retention.carry_out(store, found)
    assert [path.exists() for path in (live, young, stale, old, scratch)] == [True, True, False, False, False]
    assert Path(store.root, record.path).exists()


def test_checkpoints_that_no_run_continues_go_and_those_of_a_run_or_of_late_stay(two_collections):
    base = Path(two_collections.root, "checkpoints")
    for name in ("old", "young", "continued"):
        (base / name / "0").mkdir(parents=True)
        (base / name / "0" / "weights").write_bytes(b"weights")
    (base / "continued" / "checkpoint").write_bytes(b"now")
    for path in (base / "old", base / "old/0", base / "old/0/weights", base / "continued/0/weights"):
        os.utime(path, (OLD, OLD))
    with held(two_collections, "sae_study-c"):
        busy = retention.plan(two_collections)
        assert busy.removals == []
        assert any(retention.CHECKPOINTS in note for note in busy.notes)
    found = retention.plan(two_collections)
    assert [(r.path, r.bytes, r.reason) for r in found.removals] == [(str(base / "old"), 7, retention.CHECKPOINTS)]
    assert (base / "old").exists()  # a plan removes nothing
    retention.carry_out(two_collections, found)
    assert sorted(os.listdir(base)) == ["continued", "young"]


def test_a_named_collection_goes_with_all_that_is_its_own(two_collections):
    marks = ("collection=c/", "part-c.", "part-saes-c.", "saes/s-c", "reports/c/")
    own = {path for path in files_below(two_collections) if any(mark in path for mark in marks)}
    assert remove(two_collections, "c") == own
    assert not list(Path(two_collections.root).rglob("*collection=c*"))
    assert {run.collection for run in manifests(two_collections)} == {"d"}
    assert {row["collection"] for row in rows(two_collections, "from sae_training")} == {"d"}
    assert len(rows(two_collections, "from activations")) == 40
    with pytest.raises(InputError, match="no collection 'c': choose from d"):
        retention.plan(two_collections, ["c"])


def test_the_published_catalog_knows_no_removed_files(two_collections):
    import duckdb

    remove(two_collections, "c")
    with duckdb.connect(str(Path(two_collections.root, "warehouse.duckdb")), read_only=True) as connection:
        assert connection.sql("select distinct collection from activations").fetchall() == [("d",)]


def test_what_another_collection_reads_stays(two_collections, training_rows, commit_files):
    store = two_collections
    shared = next(file for run in manifests(store) if run.key == "saes-c" for file in run.files)
    file = store.write_rows("sae_training", training_rows(), "saes-e", collection="e", sae="s-e")
    commit_files(store, [file, shared], "saes", "saes-e", "e", inputs=["saes-c"])
    gone = remove(store, "c")
    assert gone == {"artifacts/reports/c/report.html"}  # of c all is needed: its stage is read, and that reads c itself
    remove(store, "e")
    assert remove(store, "c") >= {shared.path}


def test_collections_go_by_their_latest_stage_run(two_collections, training_rows, commit_files):
    file = two_collections.write_rows("sae_training", training_rows(), "again", collection="d", sae="s")
    commit_files(two_collections, [file], "saes", "again", "d", started_at=datetime.now(UTC))
    two_collections.publish_artifact(
        lambda path: path.write_text("{}"), "collections", "unfinished", "shard-00000.json"
    )
    assert retention.plan(two_collections, older_than=timedelta(days=30)).collections == ("c",)
    make_old(two_collections, "artifacts/collections/unfinished/shard-00000.json")
    assert retention.plan(two_collections, older_than=timedelta(hours=1)).collections == ("c", "unfinished")


def test_failed_stages_and_unlisted_files_go_but_what_a_run_may_still_commit_stays(
    two_collections, training_rows, commit_files
):
    store = two_collections
    failed = store.write_rows("sae_training", training_rows(), "bad", collection="c", sae="bad")
    commit_files(store, [failed], "saes", "bad", "c", quality="failed")
    old, young = (
        store.write_rows("sae_training", training_rows(), part, collection="c", sae="s").path
        for part in ("old", "young")
    )
    lost = store.publish_artifact(lambda path: path.write_bytes(b"x"), "operators", "o", "ridge.safetensors").path
    cached = store.publish_artifact(lambda path: path.write_bytes(b"x"), "neuronpedia", "o", "answer").path
    record = store.publish_artifact(lambda path: path.write_text("{}"), "collections", "c", "shard-00000.json").path
    unfinished = store.publish_artifact(lambda path: path.write_text("{}"), "collections", "u", "shard-00000.json").path
    make_old(store, old, lost, cached, unfinished)
    with held(store, "saes-c"):
        busy = retention.plan(store)
        assert busy.removals == []
        assert any("while a run is at work (saes-c: process" in note for note in busy.notes)
        with pytest.raises(InputError, match=r"a run is using it \(process \d+ on .*collection c\): wait for it"):
            retention.plan(store, ["c"])
    found = retention.plan(store)
    assert any("collection u is not finished" in note for note in found.notes)
    assert {removal.path: removal.reason for removal in found.removals} == {
        "stage_runs/stage=saes/part-bad.parquet": retention.FAILED_STAGE,
        failed.path: retention.FAILED_STAGE,
        old: retention.UNLISTED,
        lost: retention.UNLISTED,
        record: retention.SHARD_RECORD,
    }
    remove(store)
    assert {young, cached, unfinished} <= files_below(store)
    assert remove(store, "u") == {unfinished}


@pytest.mark.parametrize("calls", [1, 2, 3, 5, 8])
def test_killed_on_the_way_nothing_is_half_visible_and_the_next_one_finishes(two_collections, monkeypatch, calls):
    left = [calls]
    real = type(two_collections.storage).remove

    def dying(self, path):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        real(self, path)

    monkeypatch.setattr(type(two_collections.storage), "remove", dying)
    with pytest.raises(KeyboardInterrupt):
        retention.carry_out(two_collections, retention.plan(two_collections, ["c"]))
    monkeypatch.undo()
    connection = connect(two_collections)
    for table in ("collections", "sequences", "activations", "sae_training"):
        connection.sql(f"select count(*) from {table}").fetchall()  # no view reads a file that is gone
    retention.carry_out(two_collections, retention.plan(two_collections, ["c"]))
    assert not [path for path in files_below(two_collections) if "=c/" in path or "reports/c" in path]


@pytest.mark.slow
def test_versions_of_a_removed_collection_leave_the_registry_and_best_moves(two_collections, tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    registry = Registry(two_collections.root)
    for number, (key, r2) in enumerate([("c", 0.9), ("d", 0.5), ("c", 0.8)]):
        file = tmp_path / f"{number}.safetensors"
        save_file({"matrix": torch.eye(2), "bias": torch.zeros(2)}, file)
        registry.register_operator(
            file,
            f"o{number}",
            model="m",
            source_layer=1,
            leap=1 + number // 2,
            params={},
            metrics={"r2_val": r2},
            tags={"collection": key},
        )
    registry.update_best("ato-m-L01-k01")
    assert len(retention.plan(two_collections, ["c"]).versions) == 2
    retention.carry_out(two_collections, retention.plan(two_collections, ["c"]))
    assert registry.versions_of("c") == []
    assert registry.update_best("ato-m-L01-k01") == "models:/ato-m-L01-k01/2"
    assert registry.update_best("ato-m-L01-k02") is None
    assert [path.name for path in Path(two_collections.root, "artifacts", "mlflow").rglob("*.safetensors")] == [
        "1.safetensors"
    ]
