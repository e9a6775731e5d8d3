"""Intervals by document: coverage with few documents, exactness, and what is said where there is none."""

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import t as student

from ato.numerics import intervals
from ato.numerics.intervals import (
    MIN_DOCUMENTS,
    Estimate,
    EstimateArray,
    degrees_of_freedom,
    document_interval,
    from_left_out,
    jackknife,
    left_out,
    strata_interval,
    sure_limits,
)
from ato.numerics.scales import PLAIN, RATIO, SHARE, UNEXPLAINED
from benchmarks.coverage import CASES, coverage, draws, ours


def of_rows(values, estimator=lambda sums: sums, rows=None, **kw):
    return document_interval(values, estimator, np.ones(len(values)) if rows is None else rows, **kw)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
@pytest.mark.parametrize("n_documents", [5, 10, 40])
def test_intervals_hold_the_truth_at_every_number_of_documents(case, n_documents):
    few = 150 if case.corrected else 1000
    held, _ = coverage(ours(case, draws(case, n_documents, few)), case.truth)
    assert held >= (88 if few == 150 else 89)


def test_intervals_over_tokens_do_not_hold_it():
    rng = np.random.default_rng(0)
    of_document = np.sqrt(0.6) * rng.standard_normal((40, 1, 300))
    tokens = (of_document + np.sqrt(0.4) * rng.standard_normal((40, 10, 300))).reshape(400, 300)
    held, _ = coverage((lambda found: (found.low, found.high))(of_rows(tokens / 400)), 0.0)
    assert held < 70


@dataclass(frozen=True)
class RatioSums:
    n: np.ndarray
    y: np.ndarray


def test_limits_are_those_of_students_t_on_the_delete_one_jackknife():
    rng = np.random.default_rng(1)
    y, n = rng.normal(2, 1, 9), rng.integers(3, 30, 9).astype(float)
    found = document_interval(RatioSums(n, n * y), lambda s: s.y / s.n, n).item()
    without = np.array([np.average(np.delete(y, i), weights=np.delete(n, i)) for i in range(9)])
    error = np.sqrt(8 / 9 * np.square(without - without.mean()).sum())
    reach = student.ppf(0.975, n.sum() ** 2 / (n**2).sum() - 1) * error
    assert found.value == pytest.approx(np.average(y, weights=n))
    assert (found.low, found.high) == pytest.approx((found.value - reach, found.value + reach))


def test_a_corrected_interval_stands_where_the_estimate_has_no_bias_and_holds_the_estimate():
    values = np.random.default_rng(2).standard_normal(12)
    n = np.ones(12)
    sums = RatioSums(n, values)
    squares = RatioSums(n, values**2)

    @dataclass(frozen=True)
    class Both:
        plain: RatioSums
        squares: RatioSums

    def variance(s):
        return s.squares.y / s.plain.n - (s.plain.y / s.plain.n) ** 2

    found = jackknife(Both(sums, squares), variance, n, corrected=True)
    assert found.value == pytest.approx(values.var())
    assert found.centre == pytest.approx(values.var(ddof=1))  # Quenouille: n - 1 in place of n
    far = document_interval(np.full(12, 1.0), lambda s: s**2, n, corrected=True).item()
    assert far.low <= far.value <= far.high


def test_chunks_that_bound_the_memory_change_no_interval(monkeypatch):
    values = np.random.default_rng(1).standard_normal((9, 4))
    whole = of_rows(values)
    monkeypatch.setattr(intervals, "_CHUNK_NUMBERS", 10)
    assert len(list(left_out(values))) > 1
    np.testing.assert_array_equal([of_rows(values).low, of_rows(values).high], [whole.low, whole.high])


def test_fewer_documents_than_the_minimum_have_an_estimate_and_no_interval():
    for n in (1, MIN_DOCUMENTS - 1):
        found = of_rows(np.arange(3.0 * n).reshape(n, 3))
        assert [found[i].low for i in range(3)] == [None] * 3
        assert found[0].value is not None
    assert of_rows(np.arange(float(MIN_DOCUMENTS))).item().low is not None


def test_documents_without_rows_do_not_count():
    values = np.random.default_rng(4).standard_normal((12, 1))
    rows = np.repeat([3.0, 0.0], [8, 4])[:, None]
    with_empty = of_rows(values * (rows > 0), rows=rows)
    alone = of_rows(values[:8])
    assert (with_empty.low[0], with_empty.high[0]) == pytest.approx((alone.low[0], alone.high[0]))
    rows[4:] = 0
    assert of_rows(values * (rows > 0), rows=rows)[0].low is None


def test_one_document_that_holds_nearly_all_rows_leaves_no_interval():
    rows = np.array([1000.0, 1, 1, 1, 1, 1])
    assert degrees_of_freedom(rows) == pytest.approx(1005**2 / (1e6 + 5) - 1)
    assert of_rows(rows, rows=rows).item() == Estimate(1005.0)


def test_an_estimate_that_needs_a_certain_document_has_no_interval():
    values = np.zeros((6, 2))
    values[0] = 1.0
    values[:, 1] += 1
    found = of_rows(values, lambda sums: np.where(sums > 0, sums, np.nan))
    assert (found[0], found[1].low is None) == (Estimate(1.0), False)


@pytest.mark.parametrize(
    ("scale", "values"),
    [(PLAIN, [-3, 0, 3]), (UNEXPLAINED, [-5, 0.2, 0.99]), (RATIO, [0.1, 1, 9]), (SHARE, [0.01, 0.5, 0.99])],
)
def test_a_scale_goes_there_and_back_and_keeps_what_is_missing(scale, values):
    values = np.array([*values, np.nan], dtype=float)
    there = scale.forward(values)
    np.testing.assert_allclose(scale.inverse(there), values, rtol=1e-9, atol=1e-12)
    assert (np.diff(there[:3]) > 0).all() == scale.rising
    assert np.isfinite(scale.forward(np.array([1.0]))).all()


def test_p_is_two_and_a_half_percent_where_a_limit_is_the_threshold():
    rng = np.random.default_rng(5)
    n, yy, sse = (rng.uniform(1, 2, 10) for _ in range(3))

    @dataclass(frozen=True)
    class Sums:
        yy: np.ndarray
        sse: np.ndarray

    found = jackknife(Sums(yy, 0.3 * sse), lambda s: 1 - s.sse / s.yy, n, UNEXPLAINED)
    limits = found.interval().item()
    assert found.p_above(limits.low) == pytest.approx(0.025)
    assert found.p_below(limits.high) == pytest.approx(0.025)
    assert found.p_above(limits.high) == pytest.approx(0.975)


def test_independent_samples_have_the_interval_of_welch():
    rng = np.random.default_rng(6)
    a, b = rng.normal(1, 1, 7), rng.normal(0, 3, 20)
    value = a.mean() - b.mean()
    without = [value + (a.mean() - a) / 6, value - (b.mean() - b) / 19]
    v = np.array([a.var(ddof=1) / 7, b.var(ddof=1) / 20])
    reach = student.ppf(0.975, v.sum() ** 2 / (v[0] ** 2 / 6 + v[1] ** 2 / 19)) * np.sqrt(v.sum())
    assert strata_interval(value, without) == pytest.approx((value - reach, value + reach))


def test_an_estimate_that_is_not_known_is_not_a_number():
    assert np.isnan(float(Estimate(None)))
    assert float(Estimate(0.5, 0.4, 0.6)) == 0.5


def test_elements_of_an_array_are_estimates_and_what_is_not_finite_is_none():
    found = EstimateArray(np.array([[1.0, np.nan]]), np.array([[0.5, np.nan]]), np.array([[np.inf, 2.0]]))
    assert found[0, 0] == Estimate(1.0, 0.5, None)
    assert found[0, 1] == Estimate(None, None, 2.0)


def test_what_is_not_known_has_no_limits_even_where_it_is_known_without_each_document():
    found = from_left_out(np.array([0.5, np.nan]), np.full((6, 2), 0.5), np.ones((6, 2))).interval()
    assert (found[0], found[1]) == (Estimate(0.5, 0.5, 0.5), Estimate(None))


def test_one_unit_without_which_a_share_is_one_leaves_the_others_say():
    n = 50
    value = 1 - 1 / (2 * n)
    first = np.full(n, value)
    first[0] = 1.0
    low, high = strata_interval(value, [first, np.full(n, value)], SHARE)
    assert 0.85 < low < value < high < 1
    assert strata_interval(0.5, [np.full(n, 0.5), np.full(n, 0.5)], SHARE) == (None, None)
    assert sure_limits(1.0, n)[0] == pytest.approx(0.025 ** (1 / n))


@pytest.mark.parametrize(("scale", "x"), [(PLAIN, 0.3), (UNEXPLAINED, 0.3), (RATIO, 0.3), (SHARE, 0.3)])
def test_the_slope_of_a_scale_is_that_of_its_curve(scale, x):
    step = 1e-6
    rise = (scale.forward(np.array(x + step)) - scale.forward(np.array(x - step))) / (2 * step)
    assert scale.slope(np.array(x)) == pytest.approx(abs(rise), rel=1e-6)
