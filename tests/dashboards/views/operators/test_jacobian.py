"""How a Jacobian converged is shown of an operator that is made of it, with the rule that stopped it."""

import numpy as np
import pytest

from ato.operators import TransportOperator
from tests.dashboards.opened_pages import check_numbers, panels, read_page
from tests.dashboards.views.operators.fitted_study import FIT, build_fitted_study
from tests.tasks.reported_study import pair
from tests.warehouse.jacobian_rows import ERRORS, TOLERANCE, commit_hours_later, write_jacobians
from tests.warehouse.small_warehouse import COLLECTION, D_MODEL, row

TITLE = "Convergence of the Jacobian"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The study with two Jacobians of the pair 2 -> 4, of which an operator is made of the second."""
    warehouse = build_fitted_study(tmp_path_factory.mktemp("jacobian"))
    write_jacobians(warehouse)
    operator = TransportOperator(np.eye(D_MODEL), np.ones(D_MODEL), "jacobian", 2, 4)
    file = warehouse.publish_artifact(operator.save, "operators", "l02-k02-j", "jacobian.safetensors")
    own = {"operator": "jacobian-l02-k02", **pair(2, 4), "method": "jacobian", "path": file.path}
    tables = {"operators": [row("operators", **own, r2_val=0.2, r2_test=0.2)]}
    commit_hours_later(warehouse, "operators", "l02-k02-j", 3, tables, [COLLECTION, "j-own"], (file,))
    return warehouse.root


def test_the_curve_is_that_of_the_operators_own_jacobian_with_its_tolerance(root, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    page = read_page("operators", operator="jacobian-l02-k02", part=FIT)
    rows = check_numbers(page)[TITLE].rows
    assert rows["jacobian"].unique().to_list() == ["j-own"]
    assert rows["relative_error"].to_list() == list(ERRORS)
    assert rows["tolerance"].to_list() == [TOLERANCE] * len(ERRORS)
    shown = {metric.label: metric.value for metric in page.metric}
    assert (shown["Relative error"], shown["Stopped"]) == ("0.090", "within the tolerance")


def test_operators_of_other_methods_have_no_such_panel(root, monkeypatch):
    monkeypatch.setenv("ATO_WAREHOUSE", str(root))
    assert TITLE not in panels(read_page("operators", operator="ridge-l02-k02", part=FIT))
