"""Each rule fails for the one row that breaks it, and names it."""

import json

import pytest

from tests.warehouse.quality.altered_warehouse import checked, collected, examples, failed
from tests.warehouse.small_warehouse import (
    COLLECTION,
    LAYERS,
    activation_columns,
    analysis_rows,
    causal_rows,
    collect_rows,
    commit_stage,
    feature_rows,
    residuals,
    row,
    write,
)
from warehouse.quality.checks import check_stages, failures
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

FAULTS = {
    "range": ("feature_transport", 1, {"r2": 1.5, "r2_high": 1.6}, "is at most 1", "r2"),
    "value set": (
        "feature_transport",
        1,
        {"verdict": "maybe"},
        "is one of transported, computed, undetermined",
        "verdict",
    ),
    "interval": ("feature_transport", 1, {"r2_low": 0.95}, "is at most r2_high", "r2_low"),
    "unscored verdict": (
        "feature_transport",
        0,
        {"verdict": "computed"},
        "verdict is undetermined without a score",
        "r2, verdict",
    ),
    "rate": (
        "feature_stats",
        2,
        {"activation_rate": 0.9},
        "activation_rate is n_active / n_tokens",
        "n_active, n_tokens, activation_rate",
    ),
    "ceiling": (
        "efficiency",
        2,
        {"ceiling_in_sample": 0.4},
        "in-sample ceiling does not fall with the rank",
        "ceiling_in_sample, rank",
    ),
    "ceiling above one": ("efficiency", 2, {"ceiling_in_sample": 1.2}, "lies in [0, 1]", "ceiling_in_sample"),
    "rank": ("efficiency", 2, {"rank": 9}, "rank is at most d_kept", "rank, d_kept"),
    "modes": (
        "canonical_correlations",
        1,
        {"rho_in_sample": 0.95},
        "does not rise with the mode",
        "rho_in_sample, mode",
    ),
    "trust": ("saes", 0, {"trusted": False}, "is trusted or has a distrust_reason", "trusted, distrust_reason"),
    "duplicate": ("operator_cv", 1, {"fold": 0}, "key is unique", "collection, operator, alpha, l1_ratio, fold"),
    "pair": ("subspaces", 0, {"leap": 3}, "target_layer is source_layer + leap", "source_layer, leap, target_layer"),
    "subspace": (
        "subspaces",
        0,
        {"lts_rank_90": 3},
        "ranks for 90, 95 and 99 % are in order",
        "lts_rank_90, lts_rank_95, lts_rank_99, d_kept",
    ),
    "selected without a score": (
        "feature_scores",
        0,
        {"selected": True},
        "ranks follow the scores, and selected features have a rank",
        "rank, score, selected",
    ),
    "rank against score": (
        "feature_scores",
        1,
        {"score": 0.95},
        "ranks follow the scores, and selected features have a rank",
        "rank, score, selected",
    ),
    "example": (
        "feature_examples",
        0,
        {"activation": 2.0},
        "has one activation per token, with the peak at its position",
        "tokens, activations, position, start",
    ),
    "example of nothing": (
        "feature_examples",
        0,
        {"feature_id": 1},
        "feature is in feature_scores and selected",
        "scoring, feature_id",
    ),
    "spectrum": (
        "operator_spectra",
        1,
        {"singular_value": 2.0},
        "singular values do not rise with the mode",
        "singular_value, mode",
    ),
    "middle": (
        "compositions",
        0,
        {"middle_layer": 4},
        "middle_layer is between source and target",
        "source_layer, middle_layer, target_layer",
    ),
    "scaling": (
        "scaling",
        1,
        {"n_train": 4},
        "a larger share of train documents has more tokens",
        "fraction_asked, n_train",
    ),
    "unpaired sequence": (
        "causal_perplexity",
        3,
        {"sequence_id": 1},
        "every intervention has its unedited counterpart on the same sequence",
        "intervention, sequence_id",
    ),
    "intervention": (
        "causal_effects",
        1,
        {"intervention": "noise", "feature_id": 1},
        "is one of none, transport, bias, mean, zero, identity, random_rotation, feature_transport, feature_zero",
        "intervention",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_row_fails_one_expectation_and_names_the_row(fault, base, tmp_path):
    table, number, change, expectation, column = FAULTS[fault]
    rows = (analysis_rows() | feature_rows() | causal_rows())[table]
    rows[number] |= change
    # Written into the complete warehouse under a name of its own: what keys refer to is there.
    part = {name: rows[0][name] for name in TABLES[table].partition[1:]}
    file = base.write_rows(table, rows, fault.replace(" ", "-"), collection=COLLECTION, **part)
    found = check_stages(base, [("stage", "key")], COLLECTION, [file])
    assert failed(found) == {(table, expectation, column)}
    (example, *_) = examples(found)
    shared = set(TABLES[table].key) & example.keys()
    assert shared
    assert all(example[name] == rows[number][name] for name in shared)


def test_a_document_in_two_splits_is_named(tmp_path):
    rows = collect_rows()
    rows["sequences"][3] |= {"document_id": "doc1"}
    rows["collections"][0] |= {"n_documents": 2}
    found = checked(Warehouse(tmp_path), rows)
    assert failed(found) == {("sequences", "no document is in two splits or folds", "document_id, split, fold")}
    assert examples(found) == [{"collection": COLLECTION, "document_id": "doc1", "splits": "test, val"}]


def test_token_counts_that_do_not_add_up_are_named(tmp_path):
    rows = collect_rows()
    rows["collections"][0] |= {"dropped_by_reason": {"first_position": 3}}
    found = checked(Warehouse(tmp_path), rows)
    assert examples(found) == [{"collection": COLLECTION, "n_kept": 12, "n_dropped": 3, "n_tokens": 16}]


def test_a_collection_whose_sequences_are_incomplete_fails(tmp_path):
    rows = collect_rows()
    del rows["sequences"][1]
    assert ("collections", "counts match its sequences", "n_sequences, n_tokens, n_documents") in failed(
        checked(Warehouse(tmp_path), rows)
    )


def test_a_stored_layer_with_too_few_activations_fails(tmp_path):
    warehouse = Warehouse(tmp_path)
    full, part = (activation_columns(residuals(layer)) for layer in LAYERS)
    files = [
        warehouse.write_rows("activations", full, "k", collection=COLLECTION, layer=2),
        warehouse.write_rows("activations", {k: v[:9] for k, v in part.items()}, "k", collection=COLLECTION, layer=4),
    ]
    assert examples(checked(warehouse, collect_rows(), files)) == [
        {"collection": COLLECTION, "layer": 4, "n_kept": 12, "n_rows": 9}
    ]


def test_activations_with_another_token_or_norm_are_named(tmp_path):
    warehouse = Warehouse(tmp_path)
    columns = activation_columns(residuals(2))
    columns["token_id"][4] += 1
    columns["norm"][7] *= 1.1
    file = warehouse.write_rows("activations", columns, "k", collection=COLLECTION, layer=2)
    found = checked(
        warehouse, collect_rows() | {"collections": [collect_rows()["collections"][0] | {"layers": [2]}]}, [file]
    )
    by_text = {r["expectation"]: json.loads(r["examples"])[0] for r in failures(found)}
    token = by_text.pop("token matches its sequence and position")
    norm = by_text.pop("norm is the Euclidean norm of the residual")
    assert by_text == {}
    assert (token["sequence_id"], token["position"]) == (1, 2)
    assert (norm["sequence_id"], norm["position"]) == (2, 2)


@pytest.mark.parametrize(
    ("change", "expectation"),
    [
        ({"operator": "ridge-9-9"}, "operator is in operators, for the same pair and method"),
        ({"method": "mean"}, "operator is in operators, for the same pair and method"),
        ({"sae": "sae-of-nobody"}, "sae is in saes, at the target layer"),
    ],
)
def test_keys_that_join_nothing_fail(change, expectation, base):
    row_ = analysis_rows()["feature_transport"][1] | change
    file = base.write_rows("feature_transport", [row_], "joins", collection=COLLECTION, sae=row_["sae"])
    (failure,) = failures(check_stages(base, [("stage", "key")], COLLECTION, [file]))
    assert failure["expectation"] == expectation


def test_rows_of_a_stage_that_failed_are_not_known_to_later_stages(tmp_path):
    warehouse = collected(tmp_path)
    commit_stage(
        warehouse, "operators", write(warehouse, {"operators": analysis_rows()["operators"]}), quality="failed"
    )
    found = checked(warehouse, {"operator_cv": analysis_rows()["operator_cv"]})
    assert failed(found) == {("operator_cv", "operator is in operators", "operator")}


STRATUM = {"strata": "strata-1", "stratum": "topic", "value": "arts"}
STRATA = [("doc0", 0), ("doc1", 1), ("doc2", 2)]


@pytest.mark.parametrize(
    ("number", "change", "expectation"),
    [
        (1, {"document": 7}, "document is in sequences"),
        (1, {"document_id": "doc9"}, "document is in sequences"),
        (1, {"value": None}, "a value, or the reason why there is none"),
        (1, {"reason": "missing"}, "a value, or the reason why there is none"),
        (1, {"value": None, "reason": "unknown"}, "a value, or the reason why there is none"),
        (1, {"stratum": "decade"}, "every document has every stratum of its reading"),
        (1, {"document_id": "doc0", "document": 0}, "key is unique"),
    ],
)
def test_strata_of_no_document_or_without_a_reason_are_named(base, number, change, expectation):
    rows = [row("document_strata", **STRATUM, document_id=key, document=n) for key, n in STRATA]
    own = {"collection": COLLECTION}
    assert (
        failed(check_stages(base, [("s", "k")], COLLECTION, [base.write_rows("document_strata", rows, "right", **own)]))
        == set()
    )
    rows[number] |= change
    found = check_stages(base, [("s", "k")], COLLECTION, [base.write_rows("document_strata", rows, "wrong", **own)])
    assert {name for _, name, _ in failed(found)} == {expectation}
