"""The operations as a whole, and its links to Prefect and MLflow."""

from tests.dashboards.opened_pages import check_numbers, open_page, panels, read_page


def test_each_number_is_the_one_of_its_sql(study):
    found = check_numbers(read_page("operations"))
    assert {
        "This collection",
        "Lineage",
        "Tokens kept and dropped",
        "Stages",
        "Quality",
        "Disk use",
        "All collections",
    } <= set(found)


def test_addresses_of_prefect_and_mlflow_are_those_of_the_environment(study, monkeypatch):
    for name in ("PREFECT_API_URL", "PREFECT_UI_URL", "ATO_PREFECT_UI", "ATO_MLFLOW_UI"):
        monkeypatch.delenv(name, raising=False)
    app = open_page("operations")
    assert not app.get("link_button")
    assert set(panels(app)["Stages"].drawn[0]["flow_run"]) == {None}
    monkeypatch.setenv("PREFECT_API_URL", "http://127.0.0.1:4201/api")
    monkeypatch.setenv("ATO_MLFLOW_UI", "http://127.0.0.1:5001")
    addresses = [button.proto.url for button in open_page("operations").get("link_button")]
    assert addresses == ["http://127.0.0.1:4201", "http://127.0.0.1:5001/#/models"]


def test_an_empty_warehouse_says_how_to_fill_it(empty):
    assert "make run" in read_page("operations").info[0].value
