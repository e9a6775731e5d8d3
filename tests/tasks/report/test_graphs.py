"""The report's section on graphs: planted numbers in a table, and no section without graphs."""

import pytest

from tasks.report.graphs import panels
from tasks.report.opening import Opening
from tasks.report.page import page
from tasks.report.panels import open_scope
from tests.tasks.reported_study import COLLECTION
from tests.warehouse.graph_rows import FACTORS, write_graphs
from tests.warehouse.small_warehouse import collect_rows, commit_stage, write
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def warehouse(tmp_path_factory):
    """A collection without graphs."""
    warehouse = Warehouse(tmp_path_factory.mktemp("graphs"))
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    return warehouse


def test_the_table_has_each_prompt_once_with_its_planted_share_of_transport(warehouse):
    assert panels(open_scope(warehouse, COLLECTION)) == []
    write_graphs(warehouse)
    shown, picture = panels(open_scope(warehouse, COLLECTION))
    assert {row["prompt"] for row in shown.rows} == set(FACTORS)
    assert len(shown.rows) == len(FACTORS)
    text = page(Opening("t", "", "", [], []), {"part": [shown]})
    for row in shown.rows:
        assert row["transport_share"] == pytest.approx(1 / FACTORS[row["prompt"]], abs=0.02), (
            "one edge is not transport"
        )
        assert f"<td>{row['prompt']}</td>" in text
        assert f"<td>{row['transport_share']:.0%}</td>" in text
        assert "<td>–</td>" in text, "nothing was ablated"
    assert picture.rows
    assert "<svg" in page(Opening("t", "", "", [], []), {"part": [picture]})
