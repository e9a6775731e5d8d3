"""Dask: SAEs, features, pairs and target layers in parts give what one process gives; a part that fails costs itself."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from prefect import flow, task
from prefect.cache_policies import NO_CACHE

from ato.errors import DamagedFileError, UnavailableError
from flows.engine.fan_out import fan_out
from flows.engine.stage_run import stage_run
from flows.pipeline import pipeline
from flows.settings import Settings
from tasks.collect.task import collect_residuals
from tasks.engine.parallel_parts import run_parts
from tasks.evaluate import task as evaluate
from tasks.features import task as features
from tasks.operators import task as operators
from tasks.saes import task as saes
from tests.flows.forked_stages import run_stages
from tests.flows.test_fault_injection import committed, parts
from tests.flows.tiny_study import tiny_settings
from warehouse.catalog.catalog import rows
from warehouse.registry.registry import BEST, Registry
from warehouse.storage.manifests import manifests
from warehouse.storage.warehouse import Warehouse

LOCAL = {"scheduler": "local", "workers": 2}
WORK = (
    (saes, "_judge"),
    (features, "run_pass"),
    (features, "compute_components"),
    (operators, "_commit"),
    (evaluate, "run_pass"),
)
"""What each stage calls on its way. None of them is named by a task itself, which would take it along to a worker."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Here as on the workers: rounding may depend on the number of threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """Settings, key, the warehouse of one process, and a copy of it from when there was nothing but the collection."""
    folder = tmp_path_factory.mktemp("study")
    alone, collected = folder / "alone" / "warehouse", folder / "collected" / "warehouse"
    settings = tiny_settings(
        folder,
        operators={"methods": ["ridge", "identity", "rrr_features"]},
        causal={"positions": ["5"], "n_sequences": 2},
        report={"png": False, "n_example_features": 0},
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("ATO_WAREHOUSE", str(alone))
        collect_residuals.fn(settings.model, settings.collecting, settings.layers, settings.operators)
        shutil.copytree(alone, collected)
        collection = run_stages(settings)
    return SimpleNamespace(settings=settings, collection=collection, alone=alone, collected=collected)


@pytest.mark.slow
def test_a_pipeline_on_two_workers_leaves_the_bytes_of_one_process(study, prefect_server, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(study.collected))
    settings = Settings.model_validate(study.settings.model_dump() | {"fan_out": LOCAL})
    with monkeypatch.context() as patch:
        for module, name in WORK:
            patch.setattr(module, name, not_here)
        assert pipeline(settings) == study.collection
    found, expected = Warehouse(study.collected), Warehouse(study.alone)
    assert parts(found) == parts(expected)
    assert committed(found) == committed(expected)
    assert_each_operator_has_one_version_and_the_best_is_named(found)

    before = files(study.collected)
    with monkeypatch.context() as patch:
        for module, name in WORK:
            patch.setattr(module, name, not_here)
        assert pipeline(study.settings) == study.collection  # what workers completed is complete for one process too
    assert files(study.collected) == before


def not_here(*arguments: Any) -> None:
    raise AssertionError("this process was to leave the work to the workers")


def files(folder: Path) -> dict[Path, int]:
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.*") if path.suffix != ".duckdb"}


def assert_each_operator_has_one_version_and_the_best_is_named(warehouse: Warehouse) -> None:
    registry = Registry(warehouse.root)
    registered = rows(warehouse, "select operator, registry_uri, r2_val from operators where registry_uri is not null")
    assert len(registered) == 7  # ridge of four pairs; rrr_features of the three that end at an SAE
    of_name: dict[str, list[dict[str, Any]]] = {}
    for row in registered:
        of_name.setdefault(row["registry_uri"].split("/")[1], []).append(row)
    for name, own in of_name.items():
        versions = {f"models:/{name}/{v.version}": v.tags["operator"] for v in registry._versions(name)}
        assert versions == {row["registry_uri"]: row["operator"] for row in own}
        best = registry._client.get_model_version_by_alias(name, BEST)
        assert best.tags["operator"] == max(own, key=lambda row: row["r2_val"])["operator"]


@flow
def evaluate_in_parts(settings: Settings, collection: str, sae_keys: list[str], n: int) -> None:
    """In threads of this process: the flow's own task runner."""
    with stage_run("evaluate", settings, collection):
        study = settings.study(collection)
        evaluate.evaluate_operators(study, sae_keys, settings.operators, settings.evaluate, parts=n)


@pytest.mark.slow
def test_a_part_that_fails_is_named_and_the_others_are_kept_for_the_next_run(study, prefect_server, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(study.alone))
    changed = study.settings.evaluate.model_copy(update={"ranks": [1, 2]})
    settings = study.settings.model_copy(update={"evaluate": changed})
    sae_keys = [run.key for run in manifests(Warehouse()) if run.stage == "saes"]
    complete = {run.key for run in manifests(Warehouse())}
    judged: list[set[int]] = []
    real = evaluate._judge

    def judge_but_of_3(evaluations, missing, *arguments):
        if 3 in missing:
            raise DamagedFileError("a file of layer 3 is cut", where="part-00007", cure="restore it")
        judged.append(set(missing))
        real(evaluations, missing, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(evaluate, "_judge", judge_but_of_3)
        with pytest.raises(DamagedFileError, match=rf"^evaluate of {study.collection}: a file .*part-00007.*restore"):
            evaluate_in_parts(settings, study.collection, sae_keys, 3)
    assert sorted(map(sorted, judged)) == [[1], [2]]

    def new_targets() -> list[int]:
        new = [run for run in manifests(Warehouse()) if run.key not in complete]
        assert {run.quality for run in new} == {"passed"}
        found = rows(
            None,
            "select distinct target_layer from efficiency where list_contains(?, evaluation) order by 1",
            [[run.key for run in new]],
        )
        return [row["target_layer"] for row in found]

    assert new_targets() == [1, 2]
    judged.clear()
    monkeypatch.setattr(
        evaluate, "_judge", lambda _, missing, *rest: judged.append(set(missing)) or real(_, missing, *rest)
    )
    evaluate_in_parts(settings, study.collection, sae_keys, 3)
    assert judged == [{3}]
    assert new_targets() == [1, 2, 3]


@task(cache_policy=NO_CACHE)
def die(keys: list[str]) -> None:
    os._exit(1)


@flow
def doomed(settings: Settings) -> None:
    with stage_run("operators", settings, "a-collection"), fan_out(settings):
        run_parts("operators", die, [["l00-k01-0123abcd"]])


@pytest.mark.slow
def test_workers_that_die_are_reported_with_stage_collection_keys_and_cure(prefect_server, monkeypatch, tmp_path):
    import dask

    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    settings = Settings.model_validate({"fan_out": LOCAL | {"workers": 1}})
    message = r"^operators of a-collection: Dask workers died .*l00-k01-0123abcd.*: run the same command again"
    with (
        dask.config.set({"distributed.scheduler.allowed-failures": 0}),
        pytest.raises(UnavailableError, match=message),
    ):
        doomed(settings)
