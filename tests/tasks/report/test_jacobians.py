"""The report's figure of how Jacobians converged: planted errors, the rule that stopped them, and no figure without them."""

import pytest

from tasks.report.drawing import png
from tasks.report.jacobians import panels
from tasks.report.panels import open_scope
from tests.tasks.reported_study import COLLECTION, build_study
from tests.warehouse.jacobian_rows import ERRORS, TOLERANCE, write_jacobians
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def panel(tmp_path_factory):
    """The figure over two Jacobians of one pair."""
    warehouse = build_study(tmp_path_factory.mktemp("jacobians"))
    assert panels(open_scope(warehouse, COLLECTION)) == []
    write_jacobians(warehouse)
    (found,) = panels(open_scope(Warehouse(warehouse.root), COLLECTION))
    return found


def test_the_figure_has_each_jacobians_errors_and_tolerance(panel):
    own = [row for row in panel.rows if row["jacobian"] == "j-own"]
    assert [row["relative_error"] for row in own] == pytest.approx(ERRORS)
    assert {row["tolerance"] for row in own} == {TOLERANCE}
    assert (
        f"2 → 4: relative error {ERRORS[-1]:.3f} after 300 tokens of 12 documents, within the tolerance"
        in panel.caption
    )
    assert "relative error 0.400 after 200 tokens of 8 documents, not within the tolerance" in panel.caption
    assert panel.n.startswith("2 Jacobians")


def test_a_part_without_an_error_is_left_out_of_the_picture(panel):
    assert ERRORS[0] is None
    assert png(panel.key, panel.draw, panel.rows)[1:4] == b"PNG"
