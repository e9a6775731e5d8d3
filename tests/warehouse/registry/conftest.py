"""A registry of its own, and an operator to register."""

import numpy as np
import pytest

from ato.operators import TransportOperator


@pytest.fixture(scope="session")
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
