"""Dask: whoever runs the shards, and however often, the collection is the same; one cluster a run; clear errors."""

import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.settings import PREFECT_API_URL, temporary_settings

from ato.errors import DataError, UnavailableError
from ato.moments import Moments
from flows.engine import fan_out as module
from flows.engine.fan_out import fan_out
from flows.settings import Settings
from tasks.collect import shard_source
from tasks.collect.task import collect_residuals
from tasks.engine.parallel_parts import results
from tests.flows.test_fault_injection import parts as parquet_files
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows
from warehouse.maintenance import retention
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("study")


@pytest.fixture(scope="module")
def scheduler(folder, prefect_server) -> Iterator[str]:
    """Address of a scheduler with two worker processes, whose warehouse is the folder ``shared``."""
    from distributed import LocalCluster

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(folder / "shared"))
        with LocalCluster(n_workers=2, threads_per_worker=1, memory_limit=0, dashboard_address=":0") as cluster:
            yield cluster.scheduler_address


@pytest.fixture
def shared(folder, monkeypatch) -> Warehouse:
    """The warehouse of the workers."""
    monkeypatch.setenv("ATO_WAREHOUSE", str(folder / "shared"))
    return Warehouse()


@pytest.fixture
def alone(folder, tmp_path) -> Warehouse:
    """A warehouse that one process writes."""
    return Warehouse(tmp_path / "alone")


@flow
def collect(settings: Settings, parts: int | None = None) -> str:
    s = settings
    with fan_out(s) as workers:
        return collect_residuals(s.model, s.collecting, s.layers, s.operators, parts or workers)


def on(scheduler: str, settings: Settings) -> Settings:
    return settings.model_copy(update={"fan_out": settings.fan_out.model_copy(update={"scheduler": scheduler})})


def collect_alone(settings: Settings, warehouse: Warehouse, monkeypatch) -> str:
    with monkeypatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", warehouse.root)
        return collect(settings)


def assert_same(found: Warehouse, expected: Warehouse, key: str) -> None:
    """The same files, Parquet to the byte, moments to rounding; nothing else is left."""

    def of_key(warehouse: Warehouse) -> dict[str, str]:
        return {path: digest for path, digest in parquet_files(warehouse).items() if f"collection={key}/" in path}

    assert of_key(found) == of_key(expected)
    ours, others = ({run.key: run for run in manifests(one) if run.collection == key} for one in (found, expected))
    assert ours.keys() == others.keys()
    for stage, run in others.items():
        assert run.quality == ours[stage].quality == "passed"
        # One process checks collection and moments together; with workers, merging comes after the collection.
        made = [[f.path for f in of.files if f.table_name != "quality_results"] for of in (run, ours[stage])]
        assert made[0] == made[1]
        for path in (file.path for file in run.files if file.path.startswith("artifacts/moments/")):
            assert_close(Moments.load(Path(found.root, path)), Moments.load(Path(expected.root, path)))
    without_clock = "select * exclude (created_at) from collections where collection = ?"
    assert rows(found, without_clock, [key]) == rows(expected, without_clock, [key])
    assert not [path for path in found.storage.names("artifacts/collections") if key in path]


def assert_close(a: Moments, b: Moments) -> None:
    assert (a.pairs, a.groups, a.n_folds) == (b.pairs, b.groups, b.n_folds)
    for group, pair in product(b.groups, b.pairs):
        try:
            other = b.summary(*pair, group)
        except DataError:  # nothing was seen of this group
            with pytest.raises(DataError):
                a.summary(*pair, group)
        else:
            one = a.summary(*pair, group)
            assert one.n == other.n
            for name in ("mean_x", "mean_y", "sxx", "sxy", "syy"):
                x, y = getattr(one, name), getattr(other, name)
                np.testing.assert_allclose(x, y, rtol=1e-9, atol=1e-9 * np.abs(y).max())


@pytest.mark.parametrize("store_activations", [True, False])
def test_two_workers_make_the_collection_of_one_process(
    scheduler, shared, alone, folder, monkeypatch, store_activations
):
    settings = tiny_settings(folder, collect={"store_activations": store_activations, "layers": [0, 1, 2, 3]})
    key = collect_alone(settings, alone, monkeypatch)
    assert collect(on(scheduler, settings)) == key
    assert_same(shared, alone, key)
    # Moments that the collection lacks are gathered in parts too: here five, merged in three rounds.
    operators = settings.operators.model_copy(
        update={"source_layers": [0], "leaps": [2], "position_policy": "previous"}
    )
    changed = settings.model_copy(update={"operators": operators})
    assert collect_alone(changed, alone, monkeypatch) == collect(on(scheduler, changed), parts=5) == key
    assert len([run for run in manifests(shared) if run.stage == "moments" and run.collection == key]) == 2
    assert_same(shared, alone, key)


def test_both_workers_run_the_model_and_this_process_does_not(scheduler, shared, folder):
    from distributed import Client

    from tasks.engine.model_cache import language_model

    language_model.cache_clear()
    settings = tiny_settings(folder, collect={"n_tokens": 9_000})
    collect(on(scheduler, settings))
    with Client(scheduler, set_as_default=False) as client:
        assert list(client.run(lambda: language_model.cache_info().currsize).values()) == [1, 1]
    assert language_model.cache_info().currsize == 0


def test_fewer_shards_than_parts(scheduler, shared, alone, folder, monkeypatch):
    settings = tiny_settings(folder, collect={"shard_sequences": 1_000, "n_tokens": 11_000})
    key = collect_alone(settings, alone, monkeypatch)
    assert collect(on(scheduler, settings), parts=8) == key
    assert len(list(Path(shared.root, f"sequences/collection={key}").iterdir())) == 3
    assert_same(shared, alone, key)
    left = shared.publish_artifact(lambda path: path.write_text("x"), "collections", key, "moments-00000-00001.json")
    assert left.path in {removal.path for removal in retention.plan(shared).files}  # as after a kill before the merge


def test_workers_go_on_where_a_killed_run_of_one_process_ended(scheduler, shared, alone, folder, monkeypatch):
    settings = tiny_settings(folder, collect={"n_tokens": 10_000, "shard_sequences": 20})
    key = collect_alone(settings, alone, monkeypatch)

    class Killed(BaseException):
        """As good as kill -9: nothing tidies up after it."""

    run, done = shard_source.CollectingSource._run, []

    def run_some(self, number, model):
        if len(done) == 4:
            raise Killed
        done.append(number)
        return run(self, number, model)

    with monkeypatch.context() as patch:
        patch.setattr(shard_source.CollectingSource, "_run", run_some)
        with pytest.raises(Killed):
            collect_residuals.fn(settings.model, settings.collecting, settings.layers, settings.operators)
    assert collect(on(scheduler, settings)) == key
    assert_same(shared, alone, key)
    tokens = [run.tokens_run for one in (shared, alone) for run in manifests(one) if run.key == key]
    assert 0 < tokens[0] < 0.9 * tokens[1]


def test_shards_of_a_worker_that_dies_are_run_by_another(scheduler, shared, alone, folder, monkeypatch):
    settings = tiny_settings(folder, collect={"shard_sequences": 4, "batch_size": 1})
    key = collect_alone(settings, alone, monkeypatch)
    killed: list[int] = []

    def kill_one() -> None:
        records = Path(shared.root, "artifacts", "collections", key)
        deadline = time.monotonic() + 60
        while len(list(records.glob("shard-*"))) < 8 and time.monotonic() < deadline:
            time.sleep(0.002)
        if records.exists():
            killed.append(workers()[0])
            os.kill(killed[0], signal.SIGKILL)

    def workers() -> list[int]:
        from distributed import Client

        with Client(scheduler, set_as_default=False) as client:
            return sorted(client.run(os.getpid).values())

    killer = threading.Thread(target=kill_one)
    killer.start()
    assert collect(on(scheduler, settings)) == key
    killer.join()
    assert killed
    assert_same(shared, alone, key)


@task(cache_policy=NO_CACHE)
def where(number: int) -> dict[str, object]:
    time.sleep(0.2)
    return {"pid": os.getpid(), "threads": os.environ["OMP_NUM_THREADS"], "warehouse": Warehouse().root}


@flow
def inner(settings: Settings) -> list[dict[str, object]]:
    with fan_out(settings) as parts:
        return results(where.map(range(2 * parts)))


@flow
def outer(settings: Settings) -> list[list[dict[str, object]]]:
    with fan_out(settings):
        return [inner(settings), inner(settings)]


def test_a_local_cluster_is_started_once_a_run_and_leaves_nothing(prefect_server, tmp_path, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    settings = Settings.model_validate({"fan_out": {"scheduler": "local", "workers": 2}})
    first, second = outer(settings)
    processes = {answer["pid"] for answer in first}
    assert len(processes) == 2
    assert processes == {answer["pid"] for answer in second}
    assert not any(psutil.pid_exists(process) for process in processes)
    assert {answer["threads"] for answer in first} == {str(max(1, (os.cpu_count() or 1) // 2))}
    assert {answer["warehouse"] for answer in first} == {str(tmp_path)}


def test_without_a_scheduler_there_is_one_part_and_the_runner_of_the_flow(prefect_server):
    here = [{answer["pid"] for answer in answers} for answers in outer(Settings())]
    assert here == [{os.getpid()}] * 2


def test_what_is_missing_is_said(scheduler, shared, folder, monkeypatch, tmp_path):
    settings = tiny_settings(folder)
    monkeypatch.setattr(module, "SECONDS", 1)
    with pytest.raises(
        UnavailableError, match=r"does not answer .*fan_out\.scheduler=tcp://127\.0\.0\.1:9\).*dask sch"
    ):
        inner(on("tcp://127.0.0.1:9", settings))
    with pytest.raises(UnavailableError, match="does not answer"):
        inner(on("nonsense", settings))
    with temporary_settings({PREFECT_API_URL: None}), pytest.raises(UnavailableError, match="set PREFECT_API_URL"):
        module._check_reachable_from_workers("tcp://10.0.0.1:8786")
    with monkeypatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(tmp_path / "other"))
        with pytest.raises(UnavailableError, match=r"has another warehouse than this run .*shared, not .*other"):
            inner(on(scheduler, settings))
    monkeypatch.setitem(sys.modules, "prefect_dask", None)
    with pytest.raises(UnavailableError, match=r"Dask is not installed .*pip install -e '\.\[dask\]'"):
        inner(on("local", settings))
