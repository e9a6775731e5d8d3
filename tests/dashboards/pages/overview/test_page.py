"""The overview: what there is, in which state, and where runs are seen."""

import pytest

import warehouse
from tests.dashboards.opened_pages import check_numbers, open_page, panels
from tests.warehouse.small_warehouse import COLLECTION, STARTED, commit_stage, row, write
from warehouse.storage.manifests import commit


def test_each_number_is_the_one_of_its_sql(study):
    found = check_numbers(open_page("overview"))
    assert {"This collection", "Tokens kept and dropped", "Stages", "Quality", "Disk use", "All collections"} <= set(
        found
    )


def test_stages_stand_in_the_order_of_a_study_each_with_its_state(study):
    rows = panels(open_page("overview"))["Stages"].rows
    study_order = [
        "collect",
        "moments",
        "sae_weights",
        "saes",
        "features",
        "feature_scores",
        "explain",
        "operators",
        "evaluate",
        "causal",
    ]
    assert [stage for stage in rows["stage"] if stage in study_order] == study_order
    runs = warehouse.connect().sql("select distinct stage from stage_runs").pl()["stage"].to_list()
    for stage, state in zip(rows["stage"], rows["state"]):
        assert state == ("✓ complete" if stage in runs else "– not yet run"), stage


def test_addresses_of_prefect_and_mlflow_are_those_of_the_environment(study, monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_UI_URL", "ATO_MLFLOW_UI"):
        monkeypatch.delenv(name, raising=False)
    app = open_page("overview")
    assert not app.get("link_button")
    assert set(panels(app)["Stages"].rows["flow_run"]) == {None}
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4201/api")
    monkeypatch.setenv("ATO_MLFLOW_UI", "http://127.0.0.1:5001")
    addresses = [button.proto.url for button in open_page("overview").get("link_button")]
    assert addresses == ["http://127.0.0.1:4201", "http://127.0.0.1:5001"]


@pytest.fixture
def failing(tmp_path, monkeypatch):
    """A collection whose SAEs failed a check, in a run of Prefect's."""
    store = warehouse.Warehouse(tmp_path / "warehouse")
    monkeypatch.setenv("ATO_WAREHOUSE", store.root)
    collected = {
        "collections": [
            row("collections", layers=[1], model="m", n_tokens=100, n_kept=90, dropped_by_reason={"first_position": 10})
        ]
    }
    commit(
        store,
        "collect",
        COLLECTION,
        collection=COLLECTION,
        settings={},
        files=write(store, collected, "c"),
        seconds=2.0,
        started_at=STARTED,
        flow_run_id="run-1",
    )
    checks = {
        "quality_results": [
            row(
                "quality_results",
                stage="saes",
                key="saes-1",
                table_name="saes",
                expectation=expectation,
                success=not broken,
                n_checked=7,
                n_unexpected=broken,
                examples='[{"sae": "s"}]' if broken else None,
            )
            for expectation, broken in (("a holds", 0), ("b fails", 3))
        ]
    }
    commit_stage(store, "saes", write(store, checks, "q"), key="saes-1", quality="failed")
    return store


def test_what_failed_stands_first_with_examples_and_its_stage_is_marked(failing, monkeypatch):
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4201/api")
    app = open_page("overview")
    found = check_numbers(app)
    quality = found["Quality"].rows.to_dicts()
    assert [(row["state"], row["expectation"], row["examples"]) for row in quality] == [
        ("✗ fails", "b fails", '[{"sae": "s"}]'),
        ("✓ holds", "a holds", None),
    ]
    stages = {row["stage"]: row for row in found["Stages"].rows.to_dicts()}
    assert stages["saes"]["state"] == "✗ failed"
    assert stages["collect"]["state"] == "✓ complete"
    assert stages["collect"]["flow_run"] == "http://127.0.0.1:4201/runs/flow-run/run-1"
    assert any("1 of 2 expectations" in error.value for error in app.error)
    tokens = found["Tokens kept and dropped"].rows.rows()
    assert tokens == [("kept", 90, 0.9), ("first position", 10, 0.1)]


def test_an_empty_warehouse_says_how_to_fill_it(empty):
    assert "make run" in open_page("overview").info[0].value
