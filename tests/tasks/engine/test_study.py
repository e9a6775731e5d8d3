"""A study opens its warehouse and reads its row once, travels without them, and is a value."""

import pickle

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.utilities.collections import visit_collection

from ato.errors import LayerError, MismatchError
from ato.models import ModelIdentity
from flows.settings import Settings
from tasks.engine import study as module
from tasks.engine.study import Study
from tasks.settings import ModelSettings
from tests.warehouse.small_warehouse import COLLECTION, build
from warehouse.storage.warehouse import Warehouse


@pytest.fixture
def study(tmp_path, monkeypatch) -> Study:
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path))
    build(tmp_path)
    return Study(COLLECTION, ModelSettings(device="cpu"))


def test_the_warehouse_is_opened_and_the_row_read_once(study, monkeypatch):
    read: list[str] = []
    real = module.collection_row
    monkeypatch.setattr(module, "collection_row", lambda w, c: read.append(c) or real(w, c))
    assert study.row is study.row
    assert study.warehouse is study.warehouse
    assert read == [COLLECTION]


def test_it_travels_small_and_opens_its_own_on_arrival(study, monkeypatch, tmp_path):
    size = len(pickle.dumps(study))
    assert study.row.collection == COLLECTION
    sent = pickle.dumps(study)
    assert len(sent) == size < 2_000
    monkeypatch.setenv("ATO_WAREHOUSE", str(tmp_path / "elsewhere"))
    arrived = pickle.loads(sent)
    assert arrived == study
    assert arrived.warehouse.root == Warehouse().root != study.warehouse.root


def test_equal_studies_are_equal_and_hash_alike_whatever_they_have_read(study):
    other = Study(COLLECTION, ModelSettings(device="cpu"))
    assert study.row.d_model
    assert {study, other} == {study}
    assert study != Study(COLLECTION, ModelSettings(device="cpu", dtype="float32"))


@task(cache_policy=NO_CACHE)
def collection_of(study: Study) -> str:
    return study.row.collection


@flow
def asking(study: Study) -> list[str]:
    return [collection_of(study), collection_of.submit(study).result()]


@pytest.mark.slow
def test_a_task_takes_it_as_a_parameter(study, prefect_server):
    assert visit_collection(study, visit_fn=lambda value: value, return_data=True) is study
    assert asking(study) == [COLLECTION, COLLECTION]


def test_the_settings_of_a_run_make_it(study):
    assert Settings(model=study.model).study(COLLECTION) == study


def test_its_stages_belong_to_the_collection_and_read_it_by_default(study):
    stage = study.stage("operators", "l02-k02", settings={"alphas": [1.0]})
    assert (stage.warehouse, stage.collection, stage.inputs) == (study.warehouse, COLLECTION, [COLLECTION])
    assert study.stage("features", "f", settings={}, inputs=["an-sae"], version=2).settings["version"] == 2


def test_another_model_and_layers_that_were_not_collected_are_refused(study, monkeypatch):
    monkeypatch.setattr("ato.models.identify", lambda *_: ModelIdentity("other", None, "0000"))
    with pytest.raises(MismatchError, match=r"other \(0000\)"):
        study.check_same_model()
    study.check_layers({2, 4})
    with pytest.raises(LayerError, match=rf"layers \[3, 5\] were not collected .*{COLLECTION}"):
        study.check_layers({2, 5, 3})
    with pytest.raises(LayerError, match=r"causal\.pairs"):
        study.check_layers({5}, where="causal.pairs")
