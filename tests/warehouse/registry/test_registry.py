"""The registry: versions give the operator's own numbers, nothing is registered twice, ``best`` is the best."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ato.errors import DamagedFileError, InputError
from tests.warehouse.registry.registered import NAME, register, runs_of
from warehouse.registry.registry import MAX_METRICS, Registry, registered_name


def test_registering_the_same_operator_again_gives_the_same_version(folder, operator_file):
    first = register(Registry(folder), operator_file, "same", model="same")
    again = register(Registry(folder), operator_file, "same", model="same", metrics={"r2_val": 0.9})
    other = register(Registry(folder), operator_file, "other", model="same")
    assert (first, again, other) == ("models:/ato-same-L02-k01/1", first, "models:/ato-same-L02-k01/2")


@pytest.mark.parametrize("step", ["log_batch", "create_registered_model", "create_model_version", "set_terminated"])
@pytest.mark.parametrize("after", [False, True])
def test_a_registration_cut_off_at_any_step_is_completed_without_a_duplicate(
    step, after, folder, operator_file, monkeypatch
):
    key, model = f"cut-{step}-{after}", f"cut.{step}.{after}".lower()
    killed = Registry(folder)
    real = getattr(killed._client, step)

    def kill(*args, **kwargs):
        if after:
            real(*args, **kwargs)
        raise KeyboardInterrupt

    monkeypatch.setattr(killed._client, step, kill)
    with pytest.raises(KeyboardInterrupt):
        register(killed, operator_file, key, model=model)
    registry = Registry(folder)
    address = register(registry, operator_file, key, model=model)
    assert address == f"models:/{registered_name(model, 2, 1)}/1"
    (run,) = runs_of(registry, key)
    assert run.info.status == "FINISHED"
    assert run.data.metrics == {"r2_val": 0.5}
    assert len(registry._client.get_metric_history(run.info.run_id, "r2_val")) == 1
    assert registry.load(address).predict(np.zeros((1, 3))).shape == (1, 4)


def test_best_is_the_highest_validation_r2_and_of_equals_the_newest(folder, operator_file):
    registry, name = Registry(folder), registered_name("best", 2, 1)
    assert registry.update_best(name) is None
    for key, r2 in (("a", 0.5), ("b", 0.7), ("c", 0.6)):
        register(registry, operator_file, f"best-{key}", model="best", metrics={"r2_val": r2})
    register(registry, operator_file, "best-unscored", model="best", metrics={"r2_val": float("nan")})
    assert registry.update_best(name) == f"models:/{name}/2"
    register(registry, operator_file, "best-d", model="best", metrics={"r2_val": 0.7})
    assert registry.update_best(name) == f"models:/{name}/5"
    assert registry._client.get_model_version_by_alias(name, "best").version == 5


def test_metrics_that_are_missing_or_not_finite_are_left_out(folder, operator_file):
    registry = Registry(folder)
    metrics = {"r2_val": 0.5, "skill": float("nan"), "mse": float("inf"), "cosine": None}
    register(registry, operator_file, "finite", model="finite", metrics=metrics, tags={"collection": "c-1"})
    (run,) = runs_of(registry, "finite")
    assert run.data.metrics == {"r2_val": 0.5}
    assert run.data.params == {"alpha": "10.0", "rank": "None"}
    assert run.data.tags["collection"] == "c-1"


def test_too_many_metrics_and_a_missing_file_are_refused(folder, operator_file):
    registry = Registry(folder)
    with pytest.raises(InputError, match="metrics"):
        register(registry, operator_file, metrics={f"m{i}": 0.0 for i in range(MAX_METRICS + 1)})
    with pytest.raises(DamagedFileError, match="missing"):
        register(registry, operator_file.with_name("nobody.safetensors"))


@pytest.mark.parametrize("address", ["models:/nobody/1", "models:/nobody@best", "nobody", "models:/nobody"])
def test_an_address_of_nothing_is_a_one_line_error(address, folder):
    with pytest.raises(InputError) as error:
        Registry(folder).load(address)
    assert "\n" not in str(error.value)


def test_weights_are_stored_once(folder, operator_file):
    registry = Registry(folder)
    register(registry, operator_file, "linked", model="linked")
    (run,) = runs_of(registry, "linked")
    stored = Path(run.info.artifact_uri, "operator", "artifacts", operator_file.name)
    assert stored.is_relative_to(folder / "artifacts" / "mlflow")
    assert os.path.samefile(stored, operator_file)


def test_names_tell_model_layer_and_leap():
    assert registered_name("google/gemma-2-2b", 8, 4) == "ato-google-gemma-2-2b-L08-k04"
    assert registered_name("tiny", 2, 1) == NAME


def test_importing_registry_and_quality_imports_neither_mlflow_nor_great_expectations():
    code = "import sys, warehouse.registry.registry, warehouse.quality.checks; print({'mlflow', 'great_expectations'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_workers_that_register_at_the_same_time_all_succeed(tmp_path, operator_file):
    def work(number):
        return register(Registry(tmp_path / "warehouse"), operator_file, f"worker-{number}")

    with ThreadPoolExecutor(4) as pool:
        addresses = list(pool.map(work, range(6)))
    assert sorted(addresses) == [f"models:/{NAME}/{version}" for version in range(1, 7)]
