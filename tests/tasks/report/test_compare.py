"""The report's section on other models: in order, in sentences, and no section where nothing was compared."""

import pytest

from tasks.report.compare import panels
from tasks.report.drawing import png, svg
from tasks.report.panels import open_scope
from tests.tasks.reported_study import COLLECTION
from tests.warehouse.compare_rows import MODELS, write_comparisons
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = tmp_path_factory.mktemp("compared")
    warehouse = Warehouse(root)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    write_comparisons(warehouse)
    return root


def test_each_model_has_a_sentence_and_a_point(root):
    (panel,) = panels(open_scope(Warehouse(root), COLLECTION))
    assert [row["other_model"] for row in panel.rows] == list(MODELS)
    assert (
        "step-200, layer 2 to 4: r2 of 2 of 6 features changed, on average by -0.200 [-0.210, -0.190]" in panel.caption
    )
    picture = svg(panel.key, panel.draw, panel.rows)
    assert all(model in picture for model in MODELS)
    assert png(panel.key, panel.draw, panel.rows).startswith(b"\x89PNG")


def test_nothing_compared_is_no_section(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    assert panels(open_scope(warehouse, COLLECTION)) == []
