"""Stages in their order, each with its state; failed checks first."""

import polars as pl

import warehouse
from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page
from warehouse.catalog.registered_stages import REGISTERED_STAGES


def test_stages_stand_in_the_order_of_a_study_each_with_its_state(study):
    rows = panels(read_page("operations"))["Stages"].rows
    registered = [stage.name for stage in REGISTERED_STAGES]
    assert rows["stage"].to_list()[: len(registered)] == registered
    (made,) = warehouse.connect().sql("select list(distinct stage) from stage_runs").fetchall()[0]
    for stage in REGISTERED_STAGES:
        (state,) = rows.filter(pl.col("stage") == stage.name)["state"]
        assert (state == "– missing") == (not {stage.name, *stage.commits} & set(made)), stage.name


def test_what_failed_stands_first_with_examples_and_its_stage_is_marked(failing, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4201/api")
    app = open_page("operations")
    found = check_numbers(app)
    quality = found["Quality"].rows.to_dicts()
    assert [(row["state"], row["expectation"], row["examples"]) for row in quality] == [
        ("✗ failed", "b fails", '[{"sae": "s"}]'),
        ("✓ passed", "a holds", None),
    ]
    stages = {row["stage"]: row for row in found["Stages"].rows.to_dicts()}
    assert stages["saes"]["state"] == "✗ failed"
    assert stages["collect"]["state"] == "✓ fresh"
    assert "http://127.0.0.1:4201/runs/flow-run/run-1" in list(found["Stages"].drawn[0]["flow_run"])
    assert any("1 of 2 checks failed" in error.value for error in app.error)


def test_links_hold_the_key_of_ato_up_and_statements_do_not(failing, monkeypatch):
    monkeypatch.setenv("ATO_PREFECT_UI", "http://127.0.0.1:4201/enter#ato:key")
    app = open_page("operations")
    stages = panels(app)["Stages"]
    assert "http://127.0.0.1:4201/enter#ato:key/runs/flow-run/run-1" in list(stages.drawn[0]["flow_run"])
    assert "ato:key" not in stages.sql + str(stages.rows.to_dicts())
    assert app.get("link_button")[0].proto.url == "http://127.0.0.1:4201/enter#ato:key"
