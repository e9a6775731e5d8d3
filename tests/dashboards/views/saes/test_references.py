"""SAEs against thresholds, published ones and trivial reconstructions."""

from datetime import timedelta
from shutil import copytree

import warehouse
from tests.dashboards.opened_pages import panels, read_page
from tests.tasks.reported_study import SAES
from tests.warehouse.small_warehouse import COLLECTION, STARTED
from warehouse.storage.manifests import commit
from warehouse.storage.warehouse import Warehouse

TITLE = "Quality against thresholds and references"


def test_each_sae_stands_beside_published_ones_with_their_source_and_beside_trivial_ones(study):
    rows = panels(read_page("saes"))[TITLE].rows
    by_kind = {kind: rows.filter(rows["kind"] == kind) for kind in ("SAE", "published", "trivial")}
    assert set(by_kind["SAE"]["sae"]) == set(SAES.values())
    assert by_kind["published"]["reference"].str.starts_with("https://huggingface.co/").all()
    assert by_kind["published"]["ce_recovered"].is_between(0.9, 1).all()
    trivial = {row["label"]: (row["fvu"], row["ce_recovered"]) for row in by_kind["trivial"].iter_rows(named=True)}
    assert trivial["identity"] == (0, 1)
    assert trivial["mean of the tokens"] == (1, None)


def test_the_thresholds_are_those_of_the_run_that_judged_the_sae(study, tmp_path):
    root = copytree(study, tmp_path / "judged")
    limits = {"max_fvu": 0.4, "min_ce_recovered": 0.6, "max_dead_share": 0.1}
    commit(
        Warehouse(root),
        "saes",
        SAES[4],
        collection=COLLECTION,
        settings=limits,
        files=[],
        started_at=STARTED + timedelta(hours=1),
        seconds=1.0,
    )
    found = warehouse.connect(root).sql(f"from sae_references where kind = 'sae' and sae = '{SAES[4]}'").pl()
    assert {name: found[name][0] for name in limits} == limits
    other = warehouse.connect(root).sql(f"from sae_references where kind = 'sae' and sae = '{SAES[6]}'").pl()
    assert other["max_fvu"][0] is None, "not known is not the default"
