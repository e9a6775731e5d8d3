"""Intervals from resampling documents: coverage, exactness, and what is said where there is none."""

from dataclasses import dataclass

import numpy as np
import pytest

from ato.errors import InputError
from ato.numerics import bootstrap
from ato.numerics.bootstrap import (
    Bootstrap,
    Estimate,
    EstimateArray,
    document_bootstrap,
    percentile_limits,
    resampled_sums,
)


@dataclass(frozen=True)
class R2Sums:
    n: np.ndarray
    y: np.ndarray
    yy: np.ndarray
    sse: np.ndarray


def r2_of_sums(sums):
    return 1 - sums.sse / (sums.yy - sums.y**2 / sums.n)


def correlated_documents(rng, n_documents, n_tokens, replicates, tau=0.6):
    """Targets and errors whose squares share a share tau of variance within a document; population R2 is 0.75."""
    mixed = [
        np.sqrt(tau) * rng.standard_normal((n_documents, 1, replicates))
        + np.sqrt(1 - tau) * rng.standard_normal((n_documents, n_tokens, replicates))
        for _ in range(2)
    ]
    return mixed[0], 0.5 * mixed[1]


def test_intervals_over_documents_cover_the_truth_where_intervals_over_tokens_do_not():
    rng = np.random.default_rng(0)
    y, error = correlated_documents(rng, n_documents=60, n_tokens=10, replicates=200)

    def coverage(y, error):  # [units, tokens of the unit, replicates]
        n = np.full(y.shape[::2], float(y.shape[1]))
        sums = R2Sums(n, y.sum(1), (y**2).sum(1), (error**2).sum(1))
        r2 = document_bootstrap(sums, r2_of_sums, Bootstrap(300))
        return np.mean((r2.low <= 0.75) & (r2.high >= 0.75))

    assert 0.90 <= coverage(y, error) <= 0.99
    assert coverage(y.reshape(600, 1, 200), error.reshape(600, 1, 200)) < 0.80


def test_resampled_sums_are_the_sums_of_documents_drawn_with_replacement():
    statistics = np.ones(7), np.arange(14.0).reshape(7, 2)
    n, a = map(np.concatenate, zip(*resampled_sums(statistics, Bootstrap(500, 3))))
    assert (n == 7).all()
    np.testing.assert_allclose(a[:, 1] - a[:, 0], 7)
    # Mean and variance of a multinomial-weighted sum: sum a, and D times the population variance of a.
    np.testing.assert_allclose(a[:, 0].mean(), 42, atol=3 * np.sqrt(7 * 16 / 500))
    np.testing.assert_allclose(a[:, 0].var(), 7 * 16, rtol=0.25)


def test_chunks_that_bound_the_memory_change_no_interval(monkeypatch):
    values = np.random.default_rng(1).standard_normal((9, 4))
    whole = document_bootstrap(values, lambda sums: sums / 9, Bootstrap(seed=5))
    monkeypatch.setattr(bootstrap, "_CHUNK_NUMBERS", 100)
    chunked = document_bootstrap(values, lambda sums: sums / 9, Bootstrap(seed=5))
    np.testing.assert_allclose([chunked.low, chunked.high], [whole.low, whole.high], atol=1e-12)


def test_equal_seeds_give_equal_intervals_and_other_seeds_others():
    values = np.random.default_rng(1).standard_normal(30)
    found = [document_bootstrap(values, lambda sums: sums, Bootstrap(seed=seed)).item() for seed in (0, 0, 1)]
    assert found[0] == found[1] != found[2]
    assert found[0].value == found[2].value == values.sum()


def test_one_document_has_an_estimate_and_no_interval():
    found = document_bootstrap(np.ones((1, 3)), lambda sums: 2 * sums)
    assert [found[i] for i in range(3)] == [Estimate(2.0)] * 3


def test_limits_hold_the_estimate_even_of_an_estimator_that_resampling_biases():
    values = np.random.default_rng(3).standard_normal((40, 300))
    found = document_bootstrap(values, lambda sums: np.square(sums).sum(1)).item()
    assert found.low <= found.value <= found.high
    assert found.value == np.square(values.sum(0)).sum()


def test_undefined_resamples_are_left_out_of_the_limits():
    values = np.array([[1.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    found = document_bootstrap(values, lambda sums: np.where(sums > 0, sums, np.nan))
    assert (found[0], found[1]) == (Estimate(3.0, 3.0, 3.0), Estimate(None))


def test_too_few_resamples_are_refused():
    with pytest.raises(InputError, match="default: 1000"):
        Bootstrap(39)


def test_an_estimate_that_is_not_known_is_not_a_number():
    assert np.isnan(float(Estimate(None)))
    assert float(Estimate(0.5, 0.4, 0.6)) == 0.5


def test_elements_of_an_array_are_estimates_and_what_is_not_finite_is_none():
    found = EstimateArray(np.array([[1.0, np.nan]]), np.array([[0.5, np.nan]]), np.array([[np.inf, 2.0]]))
    assert found[0, 0] == Estimate(1.0, 0.5, None)
    assert found[0, 1] == Estimate(None, None, 2.0)


def test_limits_are_left_out_where_the_mask_is_false_and_values_stay():
    found = EstimateArray(np.ones(2), np.zeros(2), np.full(2, 2.0)).bounded_where(np.array([True, False]))
    assert (found[0], found[1]) == (Estimate(1.0, 0.0, 2.0), Estimate(1.0))


def test_limits_are_the_quantiles_of_the_finite_estimates():
    estimates = np.random.default_rng(4).standard_normal((97, 3, 5))
    estimates[:40, 1, 2] = np.nan
    estimates[5, 2, 0] = np.inf
    estimates[1:, 0, 4] = np.nan
    limits = percentile_limits(estimates)
    finite = np.where(np.isfinite(estimates), estimates, np.nan)
    np.testing.assert_allclose(limits, np.nanquantile(finite, [0.025, 0.975], axis=0), rtol=1e-12)
