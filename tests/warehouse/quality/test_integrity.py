"""Files against their manifest: missing, short, altered, foreign, or with a NaN."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
from safetensors.numpy import save_file

from tests.warehouse.quality.altered_warehouse import collected, examples, failed, put, rewrite
from tests.warehouse.small_warehouse import (
    COLLECTION,
    analysis_rows,
    build,
    commit_stage,
)
from warehouse.quality.checks import check_all, describe, failures
from warehouse.storage.warehouse import Warehouse
from warehouse.tables import TABLES


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
