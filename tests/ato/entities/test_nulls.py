"""Exact tests equal SciPy's, q equals SciPy's, and the maximum statistic counts as it says."""

import numpy as np
import pytest
from scipy.stats import false_discovery_control, fisher_exact

from ato.entities.nulls import NullMaxima, Permutations, fisher_p, max_statistic_p
from ato.errors import SettingsError
from ato.numerics.false_discovery import benjamini_hochberg
from tests.ato.entities.planted_entities import make_groups


def test_fisher_p_is_that_of_scipy_doubled_and_the_largest_over_types():
    rng = np.random.default_rng(0)
    n = np.array([[30, 12], [25, 40]])  # second, first; two types
    active = rng.binomial(n[..., None], rng.random((2, 2, 15)))
    active[:, :, 0] = 0
    active[:, 0, 1] = 0
    found = fisher_p(active, n)
    for latent in range(15):
        sides = {}
        for side in ("greater", "less"):
            sides[side] = [
                fisher_exact(
                    [
                        [active[1, t, latent], n[1, t] - active[1, t, latent]],
                        [active[0, t, latent], n[0, t] - active[0, t, latent]],
                    ],
                    side,
                ).pvalue
                for t in range(2)
            ]
        each = [min(1, 2 * min(pair)) for pair in zip(*sides.values())]
        for t in range(2):
            expected = np.nan if active[:, t, latent].sum() == 0 else each[t]
            assert found.by_type[t, latent] == pytest.approx(expected, rel=1e-9, nan_ok=True)
        over = np.nan if latent == 0 else min(1, 2 * min(max(sides["greater"]), max(sides["less"])))
        assert found.over_types[latent] == pytest.approx(over, rel=1e-9, nan_ok=True)


def test_a_type_without_a_class_takes_no_part():
    active = np.zeros((2, 2, 1), dtype=int)
    active[1, 0] = 9
    found = fisher_p(active, np.array([[10, 0], [10, 8]]))
    assert np.isnan(found.by_type[1, 0])
    assert found.over_types[0] == found.by_type[0, 0] < 0.001


def test_q_is_that_of_scipy_and_missing_p_are_no_tests():
    p = np.random.default_rng(0).random(200) ** 2
    np.testing.assert_allclose(benjamini_hochberg(p), false_discovery_control(p))
    gappy = np.insert(p, [0, 100, 200], np.nan)
    q = benjamini_hochberg(gappy)
    assert np.isnan(q[[0, 101, 202]]).all()
    np.testing.assert_allclose(q[~np.isnan(gappy)], benjamini_hochberg(p))
    assert benjamini_hochberg(np.array([])).shape == (0,)


def test_p_of_the_maximum_counts_the_observed_one_and_equal_maxima():
    maxima = np.array([0.1, 0.2, 0.3, 0.4])
    found = max_statistic_p(np.array([0.5, 0.3, 0.0, np.nan]), maxima)
    np.testing.assert_allclose(found, [1 / 5, 3 / 5, 1, np.nan])
    assert np.isnan(max_statistic_p(np.array([0.5]), np.array([np.nan]))).all()


def test_maxima_of_several_saes_are_combined():
    first, second = (NullMaxima(np.array(a), np.array([a])) for a in ([0.1, 0.5], [0.2, 0.3]))
    both = first | second
    assert both.over_types.tolist() == [0.2, 0.5]
    assert both.by_type.tolist() == [[0.2, 0.5]]


def test_permuted_labels_keep_class_sizes_and_are_uniform():
    groups = make_groups(400)
    labels = np.unpackbits(Permutations(500, seed=1).labels(groups), axis=1, count=500)
    train = groups.members("train")
    assert not labels[~train].any()
    for number in range(3):
        here = train & (groups.entity_type == number)
        n_first = (groups.label[here] == 1).sum()
        assert (labels[here].sum(0) == n_first).all()
        share = n_first / here.sum()
        z = (labels[here].mean(1) - share) / np.sqrt(share * (1 - share) / 500)
        assert np.abs(z).max() < 4.5
    with pytest.raises(SettingsError, match="too few"):
        Permutations(10)
