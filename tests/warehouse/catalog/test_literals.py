"""Statements with their values filled in."""

import duckdb
import pytest

from warehouse.catalog.literals import filled, literal


@pytest.mark.parametrize(
    "value",
    ["plain", "it's", "''", "'; drop table saes; --", "back\\slash", "new\nline", "$other", 3, -1.5, 1e-9, True, None],
)
def test_a_filled_in_value_reads_back_as_itself(value):
    ((found, beside),) = duckdb.sql(filled("select $value as v, $other as w", value=value, other="b")).fetchall()
    assert found == (value if not isinstance(value, float) else pytest.approx(value))
    assert beside == "b", "a value is never taken for a placeholder"


def test_lists_fill_an_in_and_an_empty_one_matches_nothing():
    for values, expected in (([1, 3], [1, 3]), ([], []), (["a'b"], [])):
        found = duckdb.sql(
            filled("select * from range(5) as t(i) where i::varchar in $some", some=[str(v) for v in values])
        )
        assert [i for (i,) in found.fetchall()] == expected
    assert literal((1, "a'b")) == "(1, 'a''b')"
