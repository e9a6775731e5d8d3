"""The lineage as it is drawn: each stage in the colour of its state, arrows with their runs, a cure for what is not fresh."""

import re
from datetime import timedelta

import polars as pl
import pytest

import warehouse
from dashboards.views.operations.lineage import STATES, dot
from tests.dashboards.opened_pages import check_numbers, open_page
from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, write
from warehouse.storage.manifests import commit


@pytest.fixture
def stale(tmp_path, monkeypatch):
    """Features of an SAE that has been trained with other settings since."""
    store = warehouse.Warehouse(tmp_path / "warehouse")
    monkeypatch.setenv("ATO_WAREHOUSE", store.root)
    runs = [
        ("collect", COLLECTION, [], collect_rows()),
        ("saes", "topk-l04-aaaa0000", [COLLECTION], {}),
        ("features", "features-topk-l04-00000001", ["topk-l04-aaaa0000"], {}),
        ("saes", "topk-l04-bbbb1111", [COLLECTION], {}),
    ]
    for minute, (stage, key, inputs, tables) in enumerate(runs):
        commit(
            store,
            stage,
            key,
            collection=COLLECTION,
            settings={},
            files=write(store, tables, key),
            started_at=STARTED + timedelta(minutes=minute),
            seconds=2.0,
            inputs=inputs,
        )
    return store


def test_states_are_colours_and_what_is_stale_has_its_cure(stale):
    app = open_page("operations")
    assert "Lineage" in check_numbers(app)
    drawn = app.get("graphviz_chart")[0].proto.spec
    colours = dict(re.findall(r'^"(\w+)" \[.*fillcolor="(#\w+)"', drawn, re.MULTILINE))
    assert (colours["collect"], colours["features"], colours["causal"]) == tuple(
        STATES[state] for state in ("fresh", "stale", "missing")
    )
    assert "ato run causal" in drawn
    assert f'"saes" -> "features" [label="1", color="{STATES["stale"]}"' in drawn
    assert any("ato run features" in box.value for box in app.warning)


def test_a_declared_arrow_that_others_imply_is_not_drawn(stale):
    drawn = open_page("operations").get("graphviz_chart")[0].proto.spec
    assert '"features" -> "causal" [style=dashed' in drawn
    assert '"collect" -> "causal"' not in drawn


def test_a_name_cannot_leave_its_box():
    row = {"stage": "odd", "state": "fresh", "made_by": None, "took": "<i>&", "input": None, "n_runs": None}
    assert "&lt;i&gt;&amp;" in dot(pl.DataFrame([row | {"n_replaced": None, "n_made_again": None}]))
