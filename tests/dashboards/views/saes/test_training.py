"""Training curves."""

from dashboards.views.saes.training import STEPS
from tests.dashboards.opened_pages import open_page, panels
from tests.warehouse.small_warehouse import collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse


def test_long_training_is_thinned_evenly_and_keeps_its_ends(empty):
    n = 5 * STEPS + 3
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    steps = [row("sae_training", step=i, fvu=1 / (i + 1)) for i in range(n)]
    tables = {"saes": [row("saes", layer=4, d_sae=8)], "sae_training": steps}
    commit_stage(warehouse, "saes", write(warehouse, tables))
    app = open_page("saes")
    found = panels(app)["Training"].rows["step"].to_list()
    assert len(found) <= STEPS + 1
    assert (found[0], found[-1]) == (0, n - 1)
    assert len(set(found[1:-1]) - {found[1] + i * (found[1] - found[0]) for i in range(STEPS)}) == 0
    said = panels(app)["Features that never fire"].informed
    assert "ato run features" in said[0], "a stage that has not run is named"
