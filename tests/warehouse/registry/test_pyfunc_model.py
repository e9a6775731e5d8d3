"""A registered operator behind MLflow: the same numbers, and no pickle."""

from pathlib import Path

import numpy as np
import pytest

from ato.operators import load_operator
from tests.warehouse.registry.registered import register, runs_of
from warehouse.registry.registry import Registry


@pytest.mark.parametrize("as_frame", [False, True])
def test_a_version_predicts_exactly_what_its_operator_predicts(as_frame, folder, operator_file):
    registry = Registry(folder)
    address = register(registry, operator_file, "exact", model="exact")
    x = np.random.default_rng(1).normal(size=(5, 3))
    import pandas as pd

    found = registry.load(address).predict(pd.DataFrame(x) if as_frame else x)
    np.testing.assert_array_equal(found, load_operator(operator_file)(x))
    assert found.dtype == np.float64


def test_nothing_is_pickled(folder, operator_file):
    registry = Registry(folder)
    register(registry, operator_file, "pickles", model="pickles")
    (run,) = runs_of(registry, "pickles")
    names = {p.name for p in Path(run.info.artifact_uri).rglob("*")}
    assert "pyfunc_model.py" in names
    assert not [name for name in names if name.endswith(("pkl", "pickle", "pt", "bin"))]
