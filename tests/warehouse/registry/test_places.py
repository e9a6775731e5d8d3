"""The registry wherever it lies: any folder, moved or copied, one whole file after a run, other versions of MLflow."""

import os
import shlex
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import warehouse
from ato.errors import DamagedFileError, SchemaVersionError
from ato.operators import load_operator
from tests.warehouse.registry.registered import NAME, register
from warehouse.registry.database import database_path, database_uri, registry_address, tracking_uri
from warehouse.registry.registry import Registry

X = np.ones((2, 3))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A database as MLflow makes it, to copy: its migrations take seconds."""
    root = tmp_path_factory.mktemp("made") / "warehouse"
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("MLFLOW_TRACKING_URI", raising=False)  # MLflow sets it where a test named a tracking server
        registry_address(root)
    return root.parent / "mlflow.db"


@pytest.fixture
def place(made, tmp_path):
    """A function that makes a folder with a registry of its own and returns the warehouse's root."""

    def make(name="first"):
        (tmp_path / name).mkdir(parents=True)
        shutil.copy(made, tmp_path / name / "mlflow.db")
        return tmp_path / name / "warehouse"

    return make


@pytest.mark.parametrize("name", ["q?x=1&y", "50%20a#b", "it's [a] {b,c}*;:é\n\\", "-a"])
def test_operators_are_registered_loaded_and_forgotten_in_a_folder_of_any_name(
    name, place, operator_file, tmp_path, monkeypatch
):
    (tmp_path / "working").mkdir()
    monkeypatch.chdir(tmp_path / "working")
    root = place(name)
    before = set(tmp_path.iterdir())
    registry = Registry(root)
    address = register(registry, operator_file, tags={"collection": "c"})
    assert registry.load(address).predict(X).tolist() == load_operator(operator_file)(X).tolist()
    assert [p.name for p in (root / "artifacts" / "mlflow").rglob("*.safetensors")] == [operator_file.name]
    assert not list((tmp_path / "working").iterdir())
    assert set(tmp_path.iterdir()) == before  # nothing beside it under half of its name
    registry.forget("c")
    assert not list((root / "artifacts" / "mlflow").rglob("*.safetensors"))


@pytest.mark.parametrize("name", ["/a/b.db", "/a b/c?d=%20.db", "/é#/m.db"])
def test_the_address_of_a_database_leads_back_to_its_file(name):
    assert database_path(database_uri(Path(name))) == Path(name)
    assert database_path("http://127.0.0.1:5000") is None


def test_models_load_from_a_moved_and_from_a_copied_tree_with_the_address_that_the_readme_names(
    place, operator_file, tmp_path
):
    import mlflow

    root = place()
    first = Registry(root)
    address = register(first, operator_file, tags={"collection": "c"})
    first.update_best(NAME)
    first.checkpoint()
    shutil.copytree(root.parent, tmp_path / "copy")
    for file in (tmp_path / "copy").rglob("*.safetensors"):
        assert file.exists()
    shutil.rmtree(root)
    copy = tmp_path / "copy" / "warehouse"
    mlflow.set_tracking_uri(warehouse.registry_address(copy))
    loaded = mlflow.pyfunc.load_model(f"models:/{NAME}@best")
    assert loaded.predict(X).tolist() == load_operator(operator_file)(X).tolist()
    registry = Registry(copy)
    assert registry.load(address).predict(X).shape == (2, 4)
    for name in ("second", "third"):
        second = register(registry, operator_file, name)
        assert str(copy) in registry._client.get_model_version(NAME, second.split("/")[-1]).source
    assert str(root) not in str(list(sqlite3.connect(database_path(registry.uri)).iterdump()))


def test_a_second_warehouse_beside_the_first_shares_its_registry_and_moves_nothing(place, operator_file):
    root = place()
    address = register(Registry(root), operator_file)
    second = Registry(root.with_name("second"))
    assert second.load(address).predict(X).shape == (2, 4)
    assert Registry(root).load(register(second, operator_file, "other")).predict(X).shape == (2, 4)


def test_a_copy_of_the_database_file_alone_is_whole_after_a_run(place, operator_file, tmp_path):
    registry = Registry(place())
    for i in range(3):
        register(registry, operator_file, f"k{i}", tags={"collection": "c"})
    registry.checkpoint()
    shutil.copy(database_path(registry.uri), tmp_path / "alone.db")
    with sqlite3.connect(tmp_path / "alone.db") as database:
        assert database.execute("select count(*) from model_versions").fetchall() == [(3,)]


def test_an_empty_database_file_is_made_anew_and_one_that_is_none_is_an_error_whose_cures_work(place, made):
    root = place()
    path = root.parent / "mlflow.db"
    path.write_bytes(b"")
    assert Registry(root).uri == tracking_uri(root)
    for damaged in (b"not a database at all" * 100, made.read_bytes()[:5000]):
        for leftover in root.parent.glob("mlflow.db*"):
            leftover.unlink()
        path.write_bytes(damaged)
        with pytest.raises(DamagedFileError, match="not a database of MLflow") as error:
            Registry(root)
        assert "\n" not in str(error.value)
    command = f"{error.value.cure.split(': ', 1)[1].removesuffix('/tmp')}{shlex.quote(str(root.parent.parent))}"
    subprocess.run(command, shell=True, check=True)
    shutil.copy(made, path)
    Registry(root)


def test_a_database_of_a_newer_or_older_mlflow_is_named_with_what_makes_it_readable(place, monkeypatch, tmp_path):
    root = place()
    path = root.parent / "mlflow.db"
    with sqlite3.connect(path) as database:
        database.execute("update alembic_version set version_num = 'ffff00001111'")
    with pytest.raises(SchemaVersionError, match=r"newer MLflow \(schema ffff00001111.*pip install --upgrade mlflow"):
        Registry(root)
    from flows.commands.doctor import _registry

    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    state, found, cure = _registry()
    assert (state, cure) == (False, "pip install --upgrade mlflow")
    assert "newer MLflow" in found
    path.unlink()
    from alembic import command
    from mlflow.store.db.utils import _get_alembic_config
    from mlflow.store.tracking.dbmodels.initial_models import Base
    from sqlalchemy import create_engine

    Base.metadata.create_all(create_engine(database_uri(path)))
    command.upgrade(_get_alembic_config(database_uri(path)), "451aebb31d03")  # the schema of MLflow 1.0
    with pytest.raises(SchemaVersionError, match=r"older MLflow .*cp .* && mlflow db upgrade sqlite:///") as error:
        Registry(root)
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    done = subprocess.run(error.value.cure, shell=True, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert Path(f"{path}.before").exists()
    register(Registry(root), _operator(tmp_path))


def _operator(folder):
    from ato.operators import TransportOperator

    path = folder / "ridge.safetensors"
    TransportOperator(np.ones((4, 3)), np.ones(4), "ridge", source_layer=2, target_layer=3).save(path)
    return path


def test_best_stays_with_its_site_its_position_policy_and_its_weights(place, operator_file):
    registry = Registry(place())

    def add(key, r2, weights="aaaaaaaaaaaa", **kind):
        tags = {"weights_hash": weights, "collection": "c"}
        return register(registry, operator_file, key, metrics={"r2_val": r2}, tags=tags, **kind)

    first = add("post", 0.5)
    others = [
        add("attn", 0.9, site="attn_out"),
        add("previous", 0.8, position_policy="offset:2"),
        add("tuned", 0.7, weights="bbbbbbbbbbbb"),
    ]
    assert first == f"models:/{NAME}/1"
    assert others == [f"models:/{NAME}-attn-out/1", f"models:/{NAME}-offset-2/1", f"models:/{NAME}-wbbbbbbbb/1"]
    for address in (first, *others):
        assert registry.update_best(address.split("/")[1]) == address
    assert add("post again", 0.6) == f"models:/{NAME}/2"
    assert registry.update_best(NAME) == f"models:/{NAME}/2"
    assert (
        Registry(database_path(registry.uri).parent / "warehouse")._name_of(NAME, {"weights_hash": "b" * 12})
        == f"{NAME}-w{'b' * 8}"
    )


def test_versions_of_other_weights_that_an_earlier_registry_holds_under_one_name_do_not_compete(place, operator_file):
    registry = Registry(place())
    for key, weights, r2 in (("a", "1111", 0.5), ("b", "2222", 0.9), ("c", "1111", 0.6)):
        registry._weights[NAME] = weights  # as versions until 0.2 did
        register(registry, operator_file, key, metrics={"r2_val": r2}, tags={"weights_hash": weights})
    assert registry.update_best(NAME) == f"models:/{NAME}/3"
