"""The report's section on fates: planted fates in its figures, lives and kappa, and no section without them."""

import pytest

from tasks.report.drawing import png, svg
from tasks.report.fate import panels
from tasks.report.opening import Opening
from tasks.report.page import page
from tasks.report.panels import open_scope
from tests.tasks.reported_study import COLLECTION, N_FEATURES, PAIRS, SAES, build_study
from tests.warehouse.fate_rows import ABLATED, write_fates
from warehouse.storage.warehouse import Warehouse


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """The panels by key."""
    warehouse = build_study(tmp_path_factory.mktemp("fates"))
    assert panels(open_scope(warehouse, COLLECTION)) == []
    write_fates(warehouse, SAES, N_FEATURES)
    return {panel.key: panel for panel in panels(open_scope(Warehouse(warehouse.root), COLLECTION))}


def test_the_section_has_the_planted_numbers(shown):
    assert list(shown) == ["fates", "fate-causal", "fate-lives", "fate-agreement"]
    assert not any(panel.absent for panel in shown.values())
    assert sum(row["n_features"] for row in shown["fates"].rows) == N_FEATURES * len(PAIRS)
    caused = shown["fate-causal"]
    assert [row["feature_id"] for row in caused.rows] == list(ABLATED)
    assert [row["agreement"] for row in caused.rows] == pytest.approx([0.9 - 0.2 * f for f in ABLATED])
    high = [row for row in caused.rows if row["r2"] >= 0.7 and row["agreement"] <= 0.3]
    assert f"{len(high)} of {len(ABLATED)} have r2 of 0.7 or more" in caused.caption
    assert {row["fate"] for row in shown["fate-lives"].rows if row["layer"] == 6} == {"home"}
    assert "ridge / causal" in shown["fate-agreement"].body


def test_figures_are_drawn_the_same_each_time_and_stand_on_the_page(shown):
    for panel in shown.values():
        if panel.draw is not None:
            assert svg(panel.key, panel.draw, panel.rows) == svg(panel.key, panel.draw, panel.rows)
            assert png(panel.key, panel.draw, panel.rows)[1:4] == b"PNG"
    text = page(Opening("t", "", "", [], []), {"part": list(shown.values())})
    assert all(f'id="{key}"' in text for key in shown)
