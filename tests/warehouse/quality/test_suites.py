"""Suites of single rows: NULL, NaN and values out of range."""

import numpy as np
import pyarrow as pa
import pytest

from tests.warehouse.quality.altered_warehouse import PAIR, examples, put
from tests.warehouse.small_warehouse import (
    COLLECTION,
    row,
)
from warehouse.quality.checks import check_stages, failures
from warehouse.quality.suites import FINITE, VALUE_SETS, Finding, check_rows, non_finite_rows, plain, promises
from warehouse.tables import TABLES


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
    found = check_stages(base, [("stage", "key")], COLLECTION, [file])
    assert [r["n_unexpected"] for r in failures(found)] == [7]
    assert len(examples(found)) == 5


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


def test_what_is_promised_follows_from_the_declaration():
    found = {(promise.column, promise.text) for promise in promises(TABLES["operators"])}
    assert ("l1_ratio", "lies in [0, 1]") in found
    assert ("r2_test", "is at most 1") in found
    assert ("r2_test_low", "is at most r2_test_high") in found
    assert (None, FINITE) in found
    assert ("split", "is one of train, val, test") in {(p.column, p.text) for p in promises(TABLES["sequences"])}


def test_every_set_of_values_is_of_a_declared_column():
    assert all(column in {c.name for c in TABLES[table].columns} for table, column in VALUE_SETS)


def test_findings_of_parts_add_up_and_keep_five_examples():
    one = Finding("t", "is finite", "x", 10, 3, ({"k": 1}, {"k": 2}, {"k": 3}))
    both = one + one
    assert (both.n_checked, both.n_unexpected, len(both.examples), both.success) == (20, 6, 5, False)


@pytest.mark.parametrize(
    ("value", "kept"),
    [
        (np.int64(3), 3),
        (np.float32(0.5), 0.5),
        (float("nan"), "nan"),
        (float("-inf"), "-inf"),
        (None, None),
        (b"x", "b'x'"),
    ],
)
def test_a_value_of_an_example_can_be_written_as_json(value, kept):
    assert plain(value) == kept
