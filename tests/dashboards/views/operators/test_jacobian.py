"""How a Jacobian converged is shown of an operator that is made of it, with the rule that stopped it."""

from datetime import timedelta

import numpy as np
import pytest

from ato.operators import TransportOperator
from tests.dashboards.opened_pages import check_numbers, panels, read_page
from tests.dashboards.views.operators.fitted_study import FIT, build_fitted_study
from tests.tasks.reported_study import pair
from tests.warehouse.small_warehouse import COLLECTION, D_MODEL, STARTED, row, write
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

ERRORS, TOLERANCE = (None, 0.2, 0.09), 0.1
TITLE = "Convergence of the Jacobian"


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """The study with two Jacobians of the pair 2 -> 4, of which an operator is made of the second."""
    warehouse = build_fitted_study(tmp_path_factory.mktemp("jacobian"))
    for number, (key, errors) in enumerate({"j-other": (0.5, 0.4), "j-own": ERRORS}.items()):
        own = {"jacobian": key, **pair(2, 4)}
        own.pop("method", None)
        points = [
            row(
                "jacobian_convergence", **own, part=i, n_tokens=100 * (i + 1), n_documents=4 * (i + 1), relative_error=e
            )
            for i, e in enumerate(errors)
        ]
        tables = {"jacobians": [row("jacobians", **own, converged=key == "j-own", source="model", positions="same")]}
        _commit(warehouse, "jacobians", key, number, tables | {"jacobian_convergence": points}, [COLLECTION])
    operator = TransportOperator(np.eye(D_MODEL), np.ones(D_MODEL), "jacobian", 2, 4)
    file = warehouse.publish_artifact(operator.save, "operators", "l02-k02-j", "jacobian.safetensors")
    own = {"operator": "jacobian-l02-k02", **pair(2, 4), "method": "jacobian", "path": file.path}
    tables = {"operators": [row("operators", **own, r2_val=0.2, r2_test=0.2)]}
    _commit(warehouse, "operators", "l02-k02-j", 3, tables, [COLLECTION, "j-own"], (file,))
    return warehouse.root


def _commit(
    warehouse: Warehouse, stage: str, key: str, hours: int, tables: dict, inputs: list, files: tuple = ()
) -> None:
    commit(
        warehouse,
        stage,
        key,
        collection=COLLECTION,
        settings={"tolerance": TOLERANCE},
        inputs=inputs,
        started_at=STARTED + timedelta(hours=5 + hours),
        seconds=1.0,
        files=[*files, *write(warehouse, tables, key)],
    )


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
