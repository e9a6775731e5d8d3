"""The page of SAEs: quality, training, and features that never fire, on a study with planted ones."""

import polars as pl
import pytest

from dashboards.pages.saes.page import STEPS
from tests.dashboards.opened_pages import check_numbers, open_page, panels
from tests.tasks.reported_study import N_FEATURES, SAES
from tests.warehouse.small_warehouse import collect_rows, commit_stage, row, write
from warehouse.storage.warehouse import Warehouse


def test_each_number_equals_the_one_of_its_sql(study):
    for curve in ("fvu", "lr"):
        found = check_numbers(open_page("saes", curve=curve))
        assert len(found) == 5
        assert all(panel.drawn for panel in found.values())


def test_the_table_tells_trusted_saes_from_others(study):
    rows = panels(open_page("saes"))["Quality on held-out text"].rows
    assert dict(zip(rows["sae"], rows["trusted"])) == {SAES[4]: True, SAES[6]: False}


def test_features_that_never_fire_are_counted_apart(study):
    rows = panels(open_page("saes"))["Features that never fire"].rows
    never = rows.filter(rows["state"] == "never active")
    assert never["n_features"].to_list() == [1, 1], "feature 0 of each"
    assert rows["n_features"].sum() == 2 * (N_FEATURES + 2)
    assert rows.group_by("sae").agg(pl.col("share").sum())["share"].to_list() == pytest.approx([1, 1])


def test_every_feature_that_fires_stands_in_one_bin_of_its_rate(study):
    rows = panels(open_page("saes", sae=SAES[6]))["How often features are active"].rows
    assert rows["n_features"].sum() == N_FEATURES + 1
    assert rows["rate_from"][0] <= 0.01 < rows["rate_to"][0] * (1 + 1e-12)


def test_the_address_chooses_sae_and_curve(study):
    app = open_page("saes", sae=SAES[6], curve="dead_share")
    assert app.selectbox(key="sae").value == SAES[6]
    assert app.session_state["curve"] == "dead_share"


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


def test_without_saes_the_page_says_how_to_get_them(empty):
    warehouse = Warehouse(empty)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()))
    found = panels(open_page("saes"))
    assert "ato run saes" in found["Quality on held-out text"].informed[0]
