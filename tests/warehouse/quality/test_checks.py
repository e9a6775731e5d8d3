"""Checks of a stage and of the whole warehouse: what is stored, and what is said."""

import json
from pathlib import Path

from ato.errors import QualityError
from tests.warehouse.on_demand import ON_DEMAND
from tests.warehouse.quality.altered_warehouse import PAIR, checked, collected
from tests.warehouse.small_warehouse import (
    COLLECTION,
    analysis_rows,
    build,
    commit_stage,
    row,
)
from warehouse.quality.checks import check_all, check_stages, failures, quality_error
from warehouse.storage.parquet import to_table
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES


def test_sound_data_passes_every_check_of_every_file_and_table(tmp_path):
    seen = []
    found = check_all(build(tmp_path), on_file=lambda file: seen.append(file.path))
    assert len(seen) == len(set(seen)) == 22
    assert failures(found) == []
    # Nothing that is promised goes unchecked: some row was looked at for every rule and table.
    looked_at = {(r["table_name"], r["expectation"]) for r in found if r["n_checked"]}
    tables = [table for table in TABLES.values() if table not in ON_DEMAND]
    assert {(table.name, rule.expectation) for table in tables for rule in table.rules} <= looked_at
    assert {frozenset(r) for r in found} == {frozenset(c.name for c in TABLES["quality_results"].columns)}


def test_results_of_a_stage_can_be_stored_and_have_unique_keys(tmp_path):
    warehouse = collected(tmp_path)
    found = checked(warehouse, {"saes": analysis_rows()["saes"]})
    stored = to_table(TABLES["quality_results"], found, {"collection": COLLECTION})
    keys = [tuple(r[name] for name in TABLES["quality_results"].key) for r in stored.to_pylist()]
    assert len(set(keys)) == len(keys) > 10
    assert failures(found) == []


def test_the_error_names_table_expectation_and_offending_keys(base):
    rows = [row("operators", operator="too-good", **PAIR, r2_val=2.0)]
    file = base.write_rows("operators", rows, "error", collection=COLLECTION)
    error = quality_error(check_stages(base, [("stage", "key")], COLLECTION, [file]))
    assert isinstance(error, QualityError)
    for part in ("operators.r2_val", "is at most 1", "operator=too-good", "quality_results"):
        assert part in str(error)
    assert "\n" not in str(error)


def test_failed_stages_and_unreadable_manifests_are_reported(tmp_path):
    warehouse = Warehouse(tmp_path)
    commit_stage(warehouse, "saes", [], key="saes-bad", quality="failed")
    commit_stage(warehouse, "features", [])
    Path(warehouse.root, "stage_runs/stage=features/part-features-1.parquet").write_bytes(b"rubbish")
    named = next(json.loads(r["examples"]) for r in failures(check_all(warehouse)) if r["table_name"] == "stage_runs")
    assert [e.get("key") or e["file"] for e in named] == [
        "stage_runs/stage=features/part-features-1.parquet",
        "saes-bad",
    ]


def test_an_empty_warehouse_has_nothing_to_fail(tmp_path):
    assert failures(check_all(Warehouse(tmp_path))) == []
