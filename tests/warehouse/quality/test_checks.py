"""Quality: sound data passes everything; each kind of fault is found and named by table, column and row key."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from safetensors.numpy import save_file

from ato.errors import QualityError
from tests.warehouse.small_warehouse import (
    COLLECTION,
    LAYERS,
    activation_columns,
    analysis_rows,
    build,
    causal_rows,
    collect_rows,
    commit_stage,
    feature_rows,
    residuals,
    row,
    write,
    write_activations,
)
from warehouse.quality.checks import check_all, check_stage, describe, failures, quality_error
from warehouse.quality.suites import check_rows, non_finite_rows
from warehouse.storage.parquet import to_table
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES

PAIR = {"source_layer": 2, "leap": 2, "target_layer": 4}


def failed(found):
    """(table, expectation, column) of what failed."""
    return {(r["table_name"], r["expectation"], r["column_name"]) for r in failures(found)}


def examples(found):
    """The offending keys of the only failure."""
    (only,) = failures(found)
    return json.loads(only["examples"])


def checked(warehouse, tables, more=()):
    """Rows of ``check_stage`` on freshly written tables."""
    return check_stage(warehouse, "stage", "key", COLLECTION, [*write(warehouse, tables), *more])


def collected(root):
    """A warehouse whose collect stage is complete."""
    warehouse = Warehouse(root)
    commit_stage(warehouse, "collect", write(warehouse, collect_rows()) + write_activations(warehouse))
    return warehouse


def rewrite(warehouse, path, change):
    """Replace a stored Parquet file by what ``change`` makes of its table."""
    file = Path(warehouse.root, path)
    table = pq.ParquetFile(file).read()
    pq.write_table(change(table), file)


def put(table, name, row_number, value):
    """The table with one value of a column replaced."""
    values = table.column(name).to_pylist()
    values[row_number] = value
    index = table.column_names.index(name)
    return table.set_column(index, table.schema.field(name), pa.array(values, table.schema.field(name).type))


def test_sound_data_passes_every_check_of_every_file_and_table(tmp_path):
    seen = []
    found = check_all(build(tmp_path), on_file=lambda file: seen.append(file.path))
    assert len(seen) == len(set(seen)) == 22
    assert failures(found) == []
    # Nothing that is promised goes unchecked: some row was looked at for every rule and table.
    looked_at = {(r["table_name"], r["expectation"]) for r in found if r["n_checked"]}
    assert {(table.name, rule.expectation) for table in TABLES.values() for rule in table.rules} <= looked_at
    assert {frozenset(r) for r in found} == {frozenset(c.name for c in TABLES["quality_results"].columns)}


def test_results_of_a_stage_can_be_stored_and_have_unique_keys(tmp_path):
    warehouse = collected(tmp_path)
    found = checked(warehouse, {"saes": analysis_rows()["saes"]})
    stored = to_table(TABLES["quality_results"], found, {"collection": COLLECTION})
    keys = [tuple(r[name] for name in TABLES["quality_results"].key) for r in stored.to_pylist()]
    assert len(set(keys)) == len(keys) > 10
    assert failures(found) == []


FAULTS = {
    "range": ("feature_transport", 1, {"r2": 1.5, "r2_high": 1.6}, "is at most 1", "r2"),
    "value set": (
        "feature_transport",
        1,
        {"verdict": "maybe"},
        "is one of transported, synthesised, undetermined",
        "verdict",
    ),
    "interval": ("feature_transport", 1, {"r2_low": 0.95}, "is at most r2_high", "r2_low"),
    "unscored verdict": (
        "feature_transport",
        0,
        {"verdict": "synthesised"},
        "without a score the verdict is undetermined",
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
    "trust": ("saes", 0, {"trusted": False}, "is trusted or says why not", "trusted, distrust_reason"),
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
        "ranks follow the scores, and what is selected has one",
        "rank, score, selected",
    ),
    "rank against score": (
        "feature_scores",
        1,
        {"score": 0.95},
        "ranks follow the scores, and what is selected has one",
        "rank, score, selected",
    ),
    "example": (
        "feature_examples",
        0,
        {"activation": 2.0},
        "has one activation a token, and the strongest where it says",
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
        "the middle layer lies between source and target",
        "source_layer, middle_layer, target_layer",
    ),
    "scaling": (
        "scaling",
        1,
        {"n_train": 4},
        "more of the train documents are more tokens",
        "fraction, n_train",
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


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    """A warehouse with everything, onto whose copy each fault is checked as a fresh stage."""
    return build(tmp_path_factory.mktemp("base"))


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_in_one_row_fails_one_expectation_and_names_the_row(fault, base, tmp_path):
    table, number, change, expectation, column = FAULTS[fault]
    rows = (analysis_rows() | feature_rows() | causal_rows())[table]
    rows[number] |= change
    # Written into the complete warehouse under a name of its own: what keys refer to is there.
    part = {name: rows[0][name] for name in TABLES[table].partition[1:]}
    file = base.write_rows(table, rows, fault.replace(" ", "-"), collection=COLLECTION, **part)
    found = check_stage(base, "stage", "key", COLLECTION, [file])
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
    assert failed(found) == {("sequences", "no document lies in two splits or folds", "document_id, split, fold")}
    assert examples(found) == [{"collection": COLLECTION, "document_id": "doc1", "splits": "test, val"}]


def test_token_counts_that_do_not_add_up_are_named(tmp_path):
    rows = collect_rows()
    rows["collections"][0] |= {"dropped_by_reason": {"first_position": 3}}
    found = checked(Warehouse(tmp_path), rows)
    assert examples(found) == [{"collection": COLLECTION, "n_kept": 12, "n_dropped": 3, "n_tokens": 16}]


def test_a_collection_whose_sequences_are_incomplete_fails(tmp_path):
    rows = collect_rows()
    del rows["sequences"][1]
    assert ("collections", "counts are those of its sequences", "n_sequences, n_tokens, n_documents") in failed(
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
    token = by_text.pop("is the token of its sequence at its position")
    norm = by_text.pop("norm is the length of the residual")
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
    (failure,) = failures(check_stage(base, "stage", "key", COLLECTION, [file]))
    assert failure["expectation"] == expectation


def test_rows_of_a_stage_that_failed_are_not_known_to_later_stages(tmp_path):
    warehouse = collected(tmp_path)
    commit_stage(
        warehouse, "operators", write(warehouse, {"operators": analysis_rows()["operators"]}), quality="failed"
    )
    found = checked(warehouse, {"operator_cv": analysis_rows()["operator_cv"]})
    assert failed(found) == {("operator_cv", "operator is in operators", "operator")}


def test_suites_find_null_and_nan_that_a_writer_let_through():
    table = TABLES["operators"]
    rows = pa.Table.from_pylist(
        [row("operators", operator=f"o{i}", **PAIR, mse=1.0, r2_val=0.5) for i in range(4)],
        pa.schema([(c.name, c.type) for c in table.columns]),
    )
    rows = put(put(put(rows, "n_test", 1, None), "r2_val", 2, float("nan")), "mse", 2, float("inf"))
    found = {f.expectation: f for f in check_rows(table, rows) if not f.success}
    assert found.keys() == {"has a value wherever one is expected", "is finite"}
    assert found["has a value wherever one is expected"].examples[0]["missing"] == "n_test"
    (example,) = found["is finite"].examples
    assert (example["operator"], example["not_finite"]) == ("o2", "r2_val, mse")


def test_at_most_five_examples_are_kept_but_all_rows_are_counted(base):
    rows = [row("operators", operator=f"bad{i}", **PAIR, r2_val=2.0) for i in range(7)]
    file = base.write_rows("operators", rows, "many", collection=COLLECTION)
    found = check_stage(base, "stage", "key", COLLECTION, [file])
    assert [r["n_unexpected"] for r in failures(found)] == [7]
    assert len(examples(found)) == 5


def test_the_error_names_table_expectation_and_offending_keys(base):
    rows = [row("operators", operator="too-good", **PAIR, r2_val=2.0)]
    file = base.write_rows("operators", rows, "error", collection=COLLECTION)
    error = quality_error(check_stage(base, "stage", "key", COLLECTION, [file]))
    assert isinstance(error, QualityError)
    for part in ("operators.r2_val", "is at most 1", "operator=too-good", "quality_results"):
        assert part in str(error)
    assert "\n" not in str(error)


def test_a_nan_put_into_a_stored_residual_is_found_with_file_and_row_key(tmp_path):
    warehouse = collected(tmp_path)
    path = f"activations/collection={COLLECTION}/layer=4/part-k.parquet"

    def damage(table):
        values = np.stack(table.column("residual").to_pylist()).astype(np.float32)
        values[7, 3] = np.nan
        return put(table, "residual", 7, values[7].tolist())

    rewrite(warehouse, path, damage)
    found = check_all(warehouse)
    nan = next(r for r in failures(found) if r["expectation"] == "is finite")
    assert (nan["table_name"], nan["column_name"], nan["n_unexpected"]) == ("activations", "residual", 1)
    assert json.loads(nan["examples"]) == [
        {"file": path, "collection": COLLECTION, "layer": 4, "sequence_id": 2, "position": 2}
    ]
    line = describe(nan)
    assert line.startswith("FAILED")
    assert all(part in line for part in ("activations.residual", "is finite", path, "sequence_id=2", "position=2"))
    assert ("activations", "every file has its recorded SHA-256", None) in failed(found)


FLOATS = [
    (t.name, c.name)
    for t in TABLES.values()
    for c in t.columns
    if c.type is not None and t.name in analysis_rows() and pa.types.is_floating(c.type)
]


def test_a_nan_in_any_float_column_of_any_table_is_found_with_its_row_key(tmp_path):
    warehouse = build(tmp_path)
    for table, column in FLOATS:
        path = next(Path(warehouse.root, table).rglob("*.parquet")).relative_to(warehouse.root).as_posix()
        rewrite(warehouse, path, lambda t, c=column: put(t, c, 0, float("nan")))
    found = check_all(warehouse)
    named = {
        (r["table_name"], r["column_name"]): json.loads(r["examples"])[0] for r in failures(found) if r["column_name"]
    }
    assert set(FLOATS) <= named.keys()
    for table, column in FLOATS:
        assert set(TABLES[table].key) <= named[table, column].keys()


def test_a_nan_inside_a_list_is_found(tmp_path):
    warehouse = collected(tmp_path)
    path = f"collections/collection={COLLECTION}/part-k.parquet"
    rewrite(warehouse, path, lambda t: put(t, "median_norm", 0, [1.0, float("nan")]))
    assert ("collections", "is finite", "median_norm") in failed(check_all(warehouse))


def test_missing_short_altered_and_foreign_files_are_each_named(tmp_path):
    warehouse = build(tmp_path)
    folder = Path(warehouse.root)

    def file(table):
        return next(folder.joinpath(table).rglob("*.parquet"))

    file("operators").unlink()
    data = file("saes").read_bytes()
    file("saes").write_bytes(data[: len(data) // 2])
    rewrite(warehouse, file("efficiency").relative_to(folder), lambda t: t.drop_columns(["rank"]))
    statistics = file("feature_stats")
    statistics.write_bytes(statistics.read_bytes().replace(b"PAR1", b"PAR2"))
    found = failed(check_all(warehouse))
    assert {
        ("operators", "every file exists with its recorded size", None),
        ("saes", "every file exists with its recorded size", None),
        ("saes", "every file has the declared schema", None),
        ("efficiency", "every file has the declared schema", None),
        ("feature_stats", "every file has its recorded SHA-256", None),
        ("feature_stats", "every file has the declared schema", None),
    } <= found


def test_a_nan_in_a_matrix_is_found(tmp_path):
    warehouse = Warehouse(tmp_path)
    matrix = np.eye(4)
    matrix[2, 1] = np.nan
    record = warehouse.publish_artifact(lambda p: save_file({"matrix": matrix}, p), "operators", "o.safetensors")
    commit_stage(warehouse, "operators", [record])
    assert examples(check_all(warehouse)) == [{"file": record.path, "row": 2}]


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


@pytest.mark.parametrize("seed", range(20))
def test_rows_with_nan_are_those_that_numpy_finds(seed):
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(50, 3)).astype(np.float32)
    x[rng.random((50, 3)) < 0.02] = rng.choice([np.nan, np.inf, -np.inf])
    x[0] = np.finfo(np.float32).max
    expected = np.flatnonzero(~np.isfinite(x).all(axis=1)).tolist()
    fixed = pa.FixedSizeListArray.from_arrays(pa.array(x.reshape(-1)), 3)
    assert non_finite_rows(fixed).tolist() == expected
    assert non_finite_rows(fixed[10:40]).tolist() == [i - 10 for i in expected if 10 <= i < 40]
    assert non_finite_rows(pa.array(x.tolist(), pa.list_(pa.float32()))).tolist() == expected
    column = pa.array(x[:, 1].tolist() + [None], pa.float32())
    assert non_finite_rows(column).tolist() == np.flatnonzero(~np.isfinite(x[:, 1])).tolist()
