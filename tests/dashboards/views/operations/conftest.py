"""A collection with a failed check."""

import pytest

import warehouse
from tests.warehouse.small_warehouse import COLLECTION, STARTED, commit_stage, row, write
from warehouse.storage.manifests import commit


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
