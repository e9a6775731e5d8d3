"""Spread over seeds: NumPy and SciPy are the oracles, and what seeds alone explain is no finding."""

import numpy as np
import pytest
from scipy import stats

from ato.sae_studies.seeds import seed_difference, seed_spread


def test_mean_and_spread_are_those_of_numpy_and_missing_seeds_are_counted():
    values = [0.3, None, 0.5, float("nan"), 0.1]
    found = seed_spread(values)
    assert (found.n, found.n_missing) == (3, 2)
    assert found.mean == pytest.approx(np.mean([0.3, 0.5, 0.1]))
    assert found.sd == pytest.approx(np.std([0.3, 0.5, 0.1], ddof=1))
    assert seed_spread([0.3]).sd is None
    assert seed_spread([None]).mean is None
    assert seed_spread([]).n == 0


def test_limits_of_the_difference_are_those_of_welch():
    rng = np.random.default_rng(0)
    first, second = rng.normal(1, 0.1, 4), rng.normal(0, 0.4, 6)
    found = seed_difference(first, second)
    expected = stats.ttest_ind(first, second, equal_var=False).confidence_interval()
    assert (found.difference.low, found.difference.high) == pytest.approx((expected.low, expected.high))
    assert found.difference.value == pytest.approx(first.mean() - second.mean())
    assert found.is_larger is True


def test_a_difference_within_the_spread_of_seeds_is_no_finding():
    assert seed_difference([0.30, 0.34], [0.31, 0.36]).is_larger is False
    assert seed_difference([0.30, 0.31], [0.80, 0.81]).is_larger is True
    assert seed_difference([0.5, 0.5], [0.5, 0.5]).is_larger is False


def test_one_seed_gives_a_difference_and_no_verdict():
    found = seed_difference([0.3], [0.8, 0.9])
    assert found.difference.value == pytest.approx(-0.55)
    assert found.is_larger is found.spread is found.difference.low is None
    assert "fewer than two seeds" in found.reason
    assert "no seed has a value" in seed_difference([None], [0.8]).reason


def test_seeds_of_one_setting_are_called_different_about_a_third_of_the_time_or_less():
    # the rule is no test: with two seeds each it must still be rarer than not under the null
    rng = np.random.default_rng(1)
    found = [seed_difference(*rng.normal(size=(2, 2))).is_larger for _ in range(2000)]
    assert np.mean(found) < 0.4
