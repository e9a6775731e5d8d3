"""Materialised marts: the rows, types and order of the views, never stale, whoever writes, dies or removes meanwhile."""

import os
import re
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from ato.errors import DamagedFileError, DiskFullError
from tests.dashboards.whole_study import build_whole_study
from tests.warehouse.small_warehouse import COLLECTION, commit_stage, row, write
from warehouse.catalog import catalog, mart_files
from warehouse.catalog.catalog import connect, rows
from warehouse.catalog.mart_files import FOLDER, mart_file, stored_marts, tables_read
from warehouse.catalog.marts import MATERIALISED, closure, mart_texts, order_of
from warehouse.catalog.materialise import materialise
from warehouse.catalog.published import PUBLISHED, publish
from warehouse.catalog.query import run_select
from warehouse.maintenance import retention
from warehouse.quality.checks import check_all, failures
from warehouse.storage.manifests import FAILED, commit, manifests
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

OTHER = "a-second-collection"
"""Comes before the first one in every order."""


def add_collection(store: Warehouse, name: str) -> None:
    """The same results as a collection of its own, with the same keys in its rows and other times of its stages."""
    for run in manifests(store):
        files = []
        for file in run.files:
            path = file.path.replace(f"collection={COLLECTION}", f"collection={name}")
            target = Path(store.root, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(Path(store.root, file.path).read_bytes())
            files.append(replace(file, path=path))
        key, options = f"{run.key}-{name}", {"collection": name, "settings": {}, "seconds": 1.0}
        later = run.started_at + timedelta(hours=1)
        commit(store, run.stage, key, files=files, started_at=later, quality=run.quality, **options)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A study to copy."""
    store = build_whole_study(tmp_path_factory.mktemp("built") / "warehouse")
    add_collection(store, OTHER)
    return store.root


@pytest.fixture
def study(built, tmp_path):
    """Two collections in which every mart has rows, none of them materialised."""
    return Warehouse(shutil.copytree(built, tmp_path / "warehouse"))


@pytest.fixture
def views(monkeypatch):
    """Answers of the views alone, whatever files there are."""

    def answers(store):
        with monkeypatch.context() as patch:
            patch.setattr(catalog, "MATERIALISED", ())
            return of_all_marts(store)

    return answers


def of_all_marts(store):
    """Each materialised mart, and each that reads one -> columns, their types and the rows, in the mart's order."""
    connection, texts, found = connect(store), mart_texts(), {}
    for mart in (mart for mart in texts if closure(mart, texts) & set(MATERIALISED)):
        relation = connection.sql(f"from {mart}")
        answer = relation.fetchall()
        if mart == "latest_feature_scores":  # has no order
            answer.sort(key=str)
        found[mart] = relation.columns, [str(kind) for kind in relation.types], answer
    return found


def from_files(store):
    """Materialised marts that a connection reads from files, at least for one collection."""
    sql = "select view_name from duckdb_views() where schema_name = 'main' and sql like '%/marts/%'"
    return {name for (name,) in connect(store).sql(sql).fetchall()}


def marts_of(store):
    return set(store.storage.names(FOLDER))


def altered(store):
    """What ``ato check`` says about files of marts."""
    return [row for row in failures(check_all(store)) if row["table_name"] == FOLDER]


def removed(store):
    """What ``ato gc`` removes an hour later."""
    then = time.time() - 2 * retention.GRACE_SECONDS
    for path in store.storage.entries():
        os.utime(Path(store.root, path), (then, then))
    before = marts_of(store)
    retention.carry_out(store, retention.plan(store))
    return before - marts_of(store)


def rebuild_a_stage(store):
    """The operators are evaluated again: other scores under the same stage."""
    scores = [
        row(
            "feature_transport",
            operator="ridge-2-4",
            evaluation="again",
            source_layer=2,
            leap=2,
            target_layer=4,
            **more,
        )
        for more in ({"feature_id": 1, "r2": 0.5, "verdict": "transported"}, {"feature_id": 2, "r2": 0.25})
    ]
    commit_stage(store, "evaluate", write(store, {"feature_transport": scores}, "again"), key="again")


def test_marts_are_declared_once_and_each_is_by_collection():
    texts = mart_texts()
    assert set(MATERIALISED) <= texts.keys()
    assert all(order_of(texts[mart]).startswith("collection, ") for mart in MATERIALISED)
    by_collection = {name for name, table in TABLES.items() if table.partition[:1] == ("collection",)}
    assert tables_read(texts) <= by_collection | {"stage_runs"}


def planned_with(mart: str, texts: dict[str, str]) -> set[str]:
    """The marts that DuckDB plans with one, where those of the list are read from files."""
    read = re.findall(r"\w+", re.sub(r"--.*", "", texts[mart]))
    own = {word for word in read if word in texts and word != mart and word not in MATERIALISED}
    return own.union(*(planned_with(word, texts) for word in own))


def test_the_list_leaves_no_mart_that_stands_on_more_than_two_which_are_not_in_files():
    texts = mart_texts()
    others = {mart: planned_with(mart, texts) for mart in texts if mart not in MATERIALISED}
    assert {mart: read for mart, read in others.items() if len(read) > 2} == {}


def test_each_of_the_list_stands_on_another_mart_and_brings_rows_of_several_together():
    texts = mart_texts()
    for mart in MATERIALISED:
        assert (closure(texts[mart], texts) & texts.keys()) - {mart}, mart
        assert re.search(r"\b(group by|over|join)\b", texts[mart]), mart


@pytest.mark.parametrize("collections", [(COLLECTION,), (OTHER,), (COLLECTION, OTHER)])
def test_files_hold_the_rows_types_and_order_of_the_views(study, views, collections):
    expected = of_all_marts(study)
    assert all(expected[mart][2] for mart in MATERIALISED)
    for collection in collections:
        assert {file.mart for file in materialise(study, collection)} == set(MATERIALISED)
    assert from_files(study) == set(MATERIALISED)
    assert of_all_marts(study) == expected == views(study)
    for mart in MATERIALISED:
        assert len(rows(study, f"from {mart}")) == len(expected[mart][2])


def test_a_collection_that_is_materialised_is_not_written_again(study):
    assert materialise(study, COLLECTION)
    before = {path: entry.modified for path, entry in study.storage.entries().items()}
    assert materialise(study, COLLECTION) == []
    assert {path: entry.modified for path, entry in study.storage.entries().items()} == before
    assert materialise(study, "no such collection") == []


def test_a_stage_that_runs_again_outdates_its_collection_and_no_other(study, views):
    for collection in (COLLECTION, OTHER):
        materialise(study, collection)
    rebuild_a_stage(study)
    assert of_all_marts(study) == views(study)
    assert materialise(study, OTHER) == []
    assert len(materialise(study, COLLECTION)) == len(MATERIALISED)
    assert of_all_marts(study) == views(study)


def test_a_stage_that_failed_its_checks_changes_no_mart_of_results(study, views):
    materialise(study, COLLECTION)
    hidden = row("feature_scores", layer=4, scoring="bad", feature_id=1, rank=1, selected=True)
    commit_stage(study, "feature_scores", write(study, {"feature_scores": [hidden]}, "bad"), key="bad", quality=FAILED)
    assert of_all_marts(study) == views(study)
    materialise(study, COLLECTION)
    assert of_all_marts(study) == views(study)


def test_gc_removes_what_is_outdated_and_nothing_that_is_read(study, views):
    for collection in (COLLECTION, OTHER):
        materialise(study, collection)
    publish(study)
    old = {path for path in marts_of(study) if COLLECTION in path}
    assert removed(study) == set()
    rebuild_a_stage(study)
    assert retention.plan(study).removals == []  # who has connected before may still read them
    materialise(study, COLLECTION)
    assert removed(study) == old
    assert len(marts_of(study)) == 2 * len(MATERIALISED)
    assert from_files(study) == set(MATERIALISED)
    assert of_all_marts(study) == views(study)
    with duckdb.connect(str(Path(study.root, PUBLISHED)), read_only=True) as published:
        published.sql("from feature_catalog").fetchall()
    retention.carry_out(study, retention.plan(study, [OTHER]))
    assert {mart_file(path).collection for path in marts_of(study)} == {COLLECTION}
    assert of_all_marts(study) == views(study)


def test_a_removed_file_is_made_again(study, views):
    materialise(study, COLLECTION)
    study.storage.remove(sorted(marts_of(study))[0])
    assert of_all_marts(study) == views(study)
    assert len(materialise(study, COLLECTION)) == len(MATERIALISED)
    assert len(marts_of(study)) == len(MATERIALISED)


def test_a_short_file_is_not_read_and_check_names_an_altered_one(study, views):
    materialise(study, COLLECTION)
    assert not altered(study)
    path = Path(study.root, sorted(marts_of(study))[0])
    whole = path.read_bytes()
    path.write_bytes(whole[:-5])
    assert of_all_marts(study) == views(study)
    path.write_bytes(whole[:-5] + bytes(5))
    (failed,) = altered(study)
    assert path.name in failed["examples"]


def test_a_mart_over_a_damaged_table_raises_although_there_is_a_file(study):
    materialise(study, COLLECTION)
    damaged = next(p for p in study.storage.names("feature_transport") if COLLECTION in p)
    Path(study.root, damaged).unlink()
    with pytest.raises(DamagedFileError, match="damaged file"):
        run_select(connect(study), "from transport_map")
    rebuild_a_stage(study)
    assert materialise(study, COLLECTION) == []


def test_a_file_of_its_size_that_cannot_be_read_is_named_in_one_line(study):
    damaged = next(Path(study.root, p) for p in study.storage.names("feature_transport") if COLLECTION in p)
    damaged.write_bytes(b"PAR1" + bytes(damaged.stat().st_size - 8) + b"PAR1")
    with pytest.raises(DamagedFileError, match=rf"^[^\n]*{damaged.name}[^\n]*ato run[^\n]*$"):
        materialise(study, COLLECTION)
    assert not marts_of(study)


def test_a_writer_that_dies_leaves_nothing_that_a_reader_takes(study, views, monkeypatch):
    calls, real = [2], type(study.storage).publish

    def dying(self, path, *arguments, **options):
        calls[0] -= 1
        if calls[0] == 0:
            raise DiskFullError("no space left")
        return real(self, path, *arguments, **options)

    monkeypatch.setattr(type(study.storage), "publish", dying)
    with pytest.raises(DiskFullError):
        materialise(study, COLLECTION)
    monkeypatch.undo()
    assert len(marts_of(study)) == 1
    assert not list(Path(study.root, FOLDER).rglob(".staging-*"))
    assert of_all_marts(study) == views(study)
    assert len(materialise(study, COLLECTION)) == len(MATERIALISED)
    assert len(marts_of(study)) == len(MATERIALISED)


def test_two_writers_at_once_leave_files_that_both_may_read(study, views, monkeypatch):
    real = mart_files.stored_marts
    monkeypatch.setattr("warehouse.catalog.materialise.stored_marts", lambda entries, *rest: real({}, *rest))
    materialise(study, COLLECTION)
    materialise(study, COLLECTION)  # as if it had looked before the first had written
    monkeypatch.undo()
    assert of_all_marts(study) == views(study)


def test_another_program_or_duckdb_reads_no_file_of_this_one(study, monkeypatch):
    materialise(study, COLLECTION)
    entries, runs, texts = study.storage.entries(), manifests(study), mart_texts()
    assert stored_marts(entries, runs, texts).files["feature_depth"]
    changed = texts | {"latest_feature_scores": texts["latest_feature_scores"] + "\n-- changed"}
    assert not stored_marts(entries, runs, changed).paths
    monkeypatch.setattr(mart_files.duckdb, "__version__", "0.0.1")
    assert not stored_marts(entries, runs, texts).paths


def test_marts_of_an_object_store_are_read_from_its_objects(views):
    store = build_whole_study("memory://marts-of-an-object-store")
    assert len(materialise(store, COLLECTION)) == len(MATERIALISED)
    assert materialise(store, COLLECTION) == []
    assert from_files(store) == set(MATERIALISED)
    assert of_all_marts(store) == views(store)
    assert not altered(store)
