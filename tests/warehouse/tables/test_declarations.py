"""Declarations are complete and agree with themselves."""

import pytest

from warehouse.catalog.catalog import duckdb_type
from warehouse.tables import TABLES
from warehouse.tables.declarations import score


def test_partition_columns_are_declared_columns():
    assert all(set(t.partition) <= {c.name for c in t.columns} for t in TABLES.values())
    assert all(set(t.key) <= {c.name for c in t.columns} for t in TABLES.values())


@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_column_has_one_name_a_type_that_sql_knows_and_a_meaning(table):
    names = [column.name for column in table.columns]
    assert len(set(names)) == len(names)
    assert table.meaning
    for column in table.columns:
        assert column.meaning
        assert not column.meaning.endswith(".")
        if column.type is not None:
            assert duckdb_type(column.type)
        if column.minimum is not None and column.maximum is not None:
            assert column.minimum < column.maximum


def test_a_column_is_found_by_name():
    assert TABLES["operators"].column("alpha").nullable
    with pytest.raises(KeyError):
        TABLES["operators"].column("strength")


def test_a_score_is_three_columns_that_may_be_missing():
    columns = score("r2", "R2 on test")
    assert [column.name for column in columns] == ["r2", "r2_low", "r2_high"]
    assert all(column.nullable for column in columns)
    assert columns[0].maximum == 1


def test_the_only_column_without_a_type_is_the_residual():
    untyped = [
        (table.name, column.name) for table in TABLES.values() for column in table.columns if column.type is None
    ]
    assert untyped == [("activations", "residual")]
