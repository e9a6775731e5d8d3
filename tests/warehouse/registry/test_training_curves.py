"""Curves of SAE trainings in MLflow: logged once, whole after an interruption, forgotten with their collection."""

import pytest

from warehouse.registry.database import open_client, tracking_uri
from warehouse.registry.training_curves import EXPERIMENT, TrainingCurves

ROWS = [{"architecture": "topk", "step": step, "mse": 1 / step, "fvu_held_out": None} for step in range(1, 1200)]


@pytest.fixture
def root(tmp_path, monkeypatch):
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return tmp_path / "warehouse"


def runs(root):
    client = open_client(tracking_uri(root), root)
    return client, client.search_runs([client.get_experiment_by_name(EXPERIMENT).experiment_id])


def test_a_curve_has_each_step_once_however_often_it_is_logged(root):
    for _ in range(2):
        TrainingCurves(root).log("key", "topk k=16", {"k": 16}, ROWS, "collection")
    client, found = runs(root)
    assert [run.info.run_name for run in found] == ["topk k=16"]
    history = client.get_metric_history(found[0].info.run_id, "mse")
    assert [(point.step, point.value) for point in history] == [(row["step"], row["mse"]) for row in ROWS]
    assert "fvu_held_out" not in found[0].data.metrics
    assert found[0].data.params == {"k": "16"}


def test_a_collection_takes_its_curves_along(root):
    curves = TrainingCurves(root)
    for key, collection in (("a", "first"), ("b", "second")):
        curves.log(key, key, {}, ROWS[:2], collection)
    curves.forget("first")
    curves.forget("first")
    assert [run.data.tags["collection"] for run in runs(root)[1]] == ["second"]
