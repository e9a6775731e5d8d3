"""Intervals in SQL: the quantile of Student's t against SciPy's, and limits that cover what they should."""

import duckdb
import numpy as np
import pytest
from scipy.stats import t

from warehouse.catalog.compared.intervals import MIN_UNITS, independent_high, independent_low, t_quantile
from warehouse.catalog.compared.statements import mean_of_pairs


@pytest.mark.parametrize("freedom", [4, 5, 7.5, 19, 1000])
def test_the_quantile_is_students(freedom):
    ((found,),) = duckdb.sql(f"select {t_quantile(str(freedom))}").fetchall()
    assert found == pytest.approx(t.ppf(0.975, freedom), rel=1e-3)


def test_the_mean_of_pairs_has_the_interval_of_a_paired_t_test():
    pairs = np.random.default_rng(0).normal(0.3, 1, 40)
    values = ", ".join(f"({value!r})" for value in pairs.tolist())
    sql = mean_of_pairs(f"(values {values}) as v(difference)", "feature", "'r2'")
    ((quantity, mean, low, high, n, paired_by),) = duckdb.sql(sql).fetchall()
    expected = t.interval(0.95, 39, pairs.mean(), pairs.std(ddof=1) / np.sqrt(40))
    assert (quantity, n, paired_by) == ("r2", 40, "feature")
    assert (mean, low, high) == pytest.approx((pairs.mean(), *expected), rel=1e-6)


def test_too_few_pairs_have_a_mean_and_no_interval():
    values = ", ".join(["(0.1)"] * (MIN_UNITS - 1))
    ((_, mean, low, high, *_),) = duckdb.sql(
        mean_of_pairs(f"(values {values}) as v(difference)", "attribute", "'x'")
    ).fetchall()
    assert (mean, low, high) == (pytest.approx(0.1), None, None)


def test_independent_limits_are_those_of_a_sum_of_variances_where_both_intervals_are_symmetric():
    sql = f"""select {independent_low("left", "right")}, {independent_high("left", "right")}
    from (select 1.0 as left_value, 0.7 as left_low, 1.3 as left_high, 2.0 as right_value, 1.6 as right_low, 2.4 as right_high)"""
    assert duckdb.sql(sql).fetchall() == [pytest.approx((1 - 0.5, 1 + 0.5))]


def test_independent_limits_hold_the_true_difference_as_often_as_they_say():
    rng = np.random.default_rng(1)
    half = t.ppf(0.975, 11) / np.sqrt(12)
    covered = 0
    for _ in range(2000):
        left, right = rng.normal(0, 1, 12), rng.normal(0.5, 3, 12)
        reach = np.hypot(
            half * left.std(ddof=1), half * right.std(ddof=1)
        )  # what both limits are, of symmetric intervals
        covered += abs(right.mean() - left.mean() - 0.5) <= reach
    assert 0.93 < covered / 2000 < 0.98
