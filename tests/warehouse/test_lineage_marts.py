"""Lineage of stages: fresh, stale, failed and missing as planted, and what they took counted once."""

from datetime import timedelta

import pytest

from tests.warehouse.small_warehouse import COLLECTION, STARTED, collect_rows, write
from warehouse.catalog.catalog import rows
from warehouse.storage.manifests import FAILED, PASSED, Batch, commit
from warehouse.storage.warehouse import Warehouse

SAES_A, SAES_B = "topk-l04-aaaa0000", "topk-l04-bbbb1111"


def made(warehouse, stage, key, minute, inputs=(), *, quality=PASSED, tables=None, batch=None, seconds=2.0):
    commit(
        warehouse,
        stage,
        key,
        collection=COLLECTION,
        settings={},
        files=write(warehouse, tables or {}, key),
        started_at=STARTED + timedelta(minutes=minute),
        seconds=seconds,
        inputs=inputs,
        quality=quality,
        batch=batch,
    )


@pytest.fixture
def study(tmp_path):
    """A collection, an SAE of it, its features and their operators, each made after what it reads."""
    warehouse = Warehouse(tmp_path / "warehouse")
    made(warehouse, "collect", COLLECTION, 0, tables=collect_rows())
    made(warehouse, "sae_weights", "topk-l04-cccc2222", 1, [COLLECTION])
    made(warehouse, "saes", SAES_A, 2, ["topk-l04-cccc2222"])
    made(warehouse, "features", "features-topk-l04-00000001", 3, [SAES_A])
    made(warehouse, "operators", "l02-k02-00000002", 4, [COLLECTION])
    made(warehouse, "evaluate", "features-l02-k02-00000003", 5, ["l02-k02-00000002", SAES_A])
    return warehouse


def lineage(warehouse):
    return {row["stage"]: row for row in rows(warehouse, "from stage_lineage")}


def states(warehouse):
    return {stage: row["state"] for stage, row in lineage(warehouse).items() if row["state"] != "missing"}


FRESH = dict.fromkeys(["collect", "saes", "features", "operators", "evaluate"], "fresh")


def test_what_was_made_after_all_that_it_reads_is_fresh_and_the_rest_is_missing_with_its_command(study):
    found = lineage(study)
    assert states(study) == FRESH
    assert found["causal"]["state"] == "missing"
    assert (found["causal"]["made_by"], found["report"]["made_by"]) == ("ato run causal", "ato report")
    assert found["causal"]["seconds"] is None
    assert found["collect"]["reason"] is None


def test_an_input_of_other_settings_makes_stale_what_read_the_former_and_what_reads_that(study):
    made(study, "saes", SAES_B, 10, ["topk-l04-cccc2222"])
    found = lineage(study)
    assert states(study) == FRESH | {"features": "stale", "evaluate": "stale"}
    assert found["features"]["reason"] == "made with other settings since: saes"
    assert (found["saes"]["n_runs"], found["saes"]["n_replaced"]) == (2, 1)
    made(study, "features", "features-topk-l04-00000009", 11, [SAES_B])
    assert states(study) == FRESH | {"evaluate": "stale"}
    made(study, "evaluate", "features-l02-k02-00000009", 12, ["l02-k02-00000002", SAES_B])
    assert states(study) == FRESH


def test_an_input_that_was_made_again_after_it_makes_a_stage_stale(study):
    made(study, "operators", "l02-k02-00000002", 20, [COLLECTION])
    assert states(study) == FRESH | {"evaluate": "stale"}
    assert lineage(study)["evaluate"]["reason"] == "made after it: operators"


def test_what_reads_a_stale_stage_is_stale_however_far_above(study):
    made(study, "graphs", "graph-p-00000004", 6, ["features-topk-l04-00000001"])
    assert states(study)["graphs"] == "fresh"
    made(study, "saes", SAES_B, 10, ["topk-l04-cccc2222"])
    assert lineage(study)["graphs"]["reason"] == "reads what is stale: features"


def test_a_further_input_beside_those_that_were_read_makes_nothing_stale(study):
    made(study, "saes", "topk-l06-dddd3333", 10, ["topk-l04-cccc2222"])
    made(study, "operators", "l04-k02-dddd3333", 11, [COLLECTION])
    assert states(study) == FRESH


def test_two_runs_of_one_name_that_read_different_things_both_stand(study):
    made(study, "operators", "l02-k02-features-00000005", 6, [COLLECTION])
    made(study, "evaluate", "features-l02-k02-00000006", 7, ["l02-k02-features-00000005", SAES_A])
    assert lineage(study)["evaluate"]["n_replaced"] == 0
    assert states(study) == FRESH


def test_the_report_is_stale_once_anything_was_made_after_it(study):
    made(study, "report", "report-00000007", 30, [COLLECTION])
    assert states(study)["report"] == "fresh"
    made(study, "causal", "all-l02-k02-00000008", 31, ["l02-k02-00000002"])
    found = lineage(study)["report"]
    assert (found["state"], found["reason"]) == ("stale", "made after it: causal")


def test_a_stage_whose_output_failed_its_checks_has_failed(study):
    made(study, "causal", "all-l02-k02-00000008", 31, ["l02-k02-00000002"], quality=FAILED)
    found = lineage(study)["causal"]
    assert (found["state"], found["reason"]) == ("failed", "1 of 1 runs failed their checks")


def test_time_of_runs_that_share_a_pass_counts_once(tmp_path):
    """Collection and moments are one pass of 40 s: 30 s and 10 s are their shares, not 40 s each."""
    warehouse = Warehouse(tmp_path)
    shared = {"batch": COLLECTION, "batch_stages": 2, "batch_seconds": 40.0, "peak_memory": 100}
    made(
        warehouse, "collect", COLLECTION, 0, tables=collect_rows(), seconds=30.0, batch=Batch(**shared, cpu_seconds=45)
    )
    made(warehouse, "moments", "moments-00000001", 0, [COLLECTION], seconds=10.0, batch=Batch(**shared, cpu_seconds=15))
    found = lineage(warehouse)["collect"]
    assert (found["seconds"], found["cpu_seconds"], found["peak_memory"]) == (40.0, 60.0, 100)
    assert found["state"] == "fresh"


def test_edges_count_the_runs_behind_them_and_declared_ones_have_none(study):
    edges = {(row["stage"], row["input"]): row["n_runs"] for row in rows(study, "from stage_inputs")}
    assert edges["evaluate", "saes"] == edges["evaluate", "operators"] == edges["saes", "collect"] == 1
    assert edges["causal", "operators"] == edges["features", "collect"] == 0
