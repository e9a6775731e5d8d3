"""The registry: versions give the operator's own numbers, nothing is registered twice, ``best`` is the best."""

import os
import sqlite3
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from ato.errors import DamagedFileError, InputError, SettingsError
from ato.operators import TransportOperator, load_operator
from warehouse.registry.database import tracking_uri
from warehouse.registry.registry import MAX_METRICS, Registry, registered_name

NAME = "ato-tiny-L02-k01"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with one MLflow database, made once: names of models keep the tests apart."""
    return tmp_path_factory.mktemp("registry") / "warehouse"


@pytest.fixture(autouse=True)
def own_database(monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)


@pytest.fixture
def operator_file(folder):
    rng = np.random.default_rng(0)
    path = folder / "artifacts" / "operators" / "ridge.safetensors"
    path.parent.mkdir(parents=True, exist_ok=True)
    operator = TransportOperator(rng.normal(size=(4, 3)), rng.normal(size=4), "ridge", source_layer=2, target_layer=3)
    if not path.exists():
        operator.save(path)
    return path


def register(registry, path, key="ridge-1", *, model="tiny", metrics=None, **values):
    return registry.register_operator(
        path,
        key,
        model=model,
        source_layer=2,
        leap=1,
        params={"alpha": 10.0, "rank": None},
        metrics={"r2_val": 0.5} if metrics is None else metrics,
        **values,
    )


def runs_of(registry, key):
    return registry._client.search_runs([registry._experiment], f"tags.operator = '{key}'")


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_version_predicts_exactly_what_its_operator_predicts(as_frame, folder, operator_file):
    registry = Registry(folder)
    address = register(registry, operator_file, "exact", model="exact")
    x = np.random.default_rng(1).normal(size=(5, 3))
    import pandas as pd

    found = registry.load(address).predict(pd.DataFrame(x) if as_frame else x)
    np.testing.assert_array_equal(found, load_operator(operator_file)(x))
    assert found.dtype == np.float64


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


def test_nothing_is_pickled(folder, operator_file):
    registry = Registry(folder)
    register(registry, operator_file, "pickles", model="pickles")
    (run,) = runs_of(registry, "pickles")
    names = {p.name for p in Path(run.info.artifact_uri).rglob("*")}
    assert "pyfunc_model.py" in names
    assert not [name for name in names if name.endswith(("pkl", "pickle", "pt", "bin"))]


def test_a_database_whose_creation_was_cut_off_is_created_anew(tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            Registry(tmp_path / "warehouse")
    assert list(tmp_path.iterdir()) == []


def test_whoever_creates_the_database_second_keeps_the_first_one(tmp_path, monkeypatch):
    link = os.link

    def someone_was_faster(staging, path):
        link(staging, path)
        with sqlite3.connect(path) as database:
            database.execute("create table first (x)")
        link(staging, path)

    monkeypatch.setattr(os, "link", someone_was_faster)
    Registry(tmp_path / "warehouse")
    with sqlite3.connect(tmp_path / "mlflow.db") as database:
        assert database.execute("select count(*) from sqlite_master where name = 'first'").fetchone() == (1,)


def test_the_address_of_the_database_is_beside_the_warehouse_or_as_the_environment_says(tmp_path, monkeypatch):
    assert tracking_uri(tmp_path / "warehouse") == f"sqlite:///{tmp_path}/mlflow.db"
    with pytest.raises(SettingsError, match="MLFLOW_TRACKING_URI"):
        tracking_uri("s3://bucket/prefix")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:5000")
    assert tracking_uri("s3://bucket/prefix") == "http://127.0.0.1:5000"


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
