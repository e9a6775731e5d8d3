"""Lineage of an operator, and the code that loads it."""

import json

import numpy as np
import pytest

from tests.dashboards.opened_pages import panels
from tests.dashboards.views.operators.fitted_study import STRENGTHS
from tests.warehouse.small_warehouse import D_MODEL


def test_lineage_names_what_made_the_operator_and_what_read_it(fitted, fit):
    rows = panels(fit)["Lineage"].rows
    assert dict(zip(rows["key"], rows["role"])) == {"l02-k02": "fitted by", "features-l02-k02": "read by"}
    assert json.loads(rows["settings"][0])["alphas"] == list(STRENGTHS)
    assert dict(panels(fit)["Provenance and loading"].rows.iter_rows())["registered as"] == "models:/ato-x/7"
    assert any("ten tokens" in warning.value for warning in fitted.warning)


def test_the_snippet_loads_the_operator(fit):
    code = next(block.value for block in fit.code if "load_operator" in block.value)
    local, registered = code.split("# or the registered version")
    names = {"x": np.ones((3, D_MODEL))}
    exec(local, names)
    assert names["y_hat"] == pytest.approx(np.full((3, D_MODEL), 3.0))
    assert 'load_model("models:/ato-x/7")' in registered
