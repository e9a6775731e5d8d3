"""What charts of comparisons draw: values below their lower edge stand there, and what is missing is not drawn."""

import duckdb

from warehouse.catalog.compared.statements import at_least


def test_a_value_below_the_edge_stands_at_it_and_a_missing_one_stays_missing():
    sql = f"select {at_least('r2', -1)} from (values (0.5), (-7.0), (null)) as v(r2)"
    assert duckdb.sql(sql).fetchall() == [(0.5,), (-1.0,), (None,)]
