"""The moments of a pair: pooled over groups they are the two-pass moments of the pooled rows."""

from dataclasses import FrozenInstanceError

import numpy as np
import pytest

from ato.moments import Moments, PairMoments


def test_the_summary_of_several_groups_is_that_of_their_rows_together():
    rng = np.random.default_rng(0)
    x, y, group = rng.normal(3, 1, (300, 4)), rng.normal(-5, 2, (300, 2)), rng.integers(4, size=300)
    moments = Moments([(0, 9)], n_folds=2).update({0: x, 9: y}, group)
    for names, codes in ((["train-0"], [0]), (["train-1", "val"], [1, 2]), (["test", "train-0"], [0, 3])):
        found = moments.summary(0, 9, names)
        a, b = x[np.isin(group, codes)], y[np.isin(group, codes)]
        covariance = np.cov(np.hstack([a, b]).T, bias=True) * len(a)
        assert found.n == len(a)
        np.testing.assert_allclose(found.mean_x, a.mean(0))
        np.testing.assert_allclose(found.mean_y, b.mean(0))
        np.testing.assert_allclose(found.sxx, covariance[:4, :4], atol=1e-9)
        np.testing.assert_allclose(found.sxy, covariance[:4, 4:], atol=1e-9)
        np.testing.assert_allclose(found.syy, covariance[4:, 4:], atol=1e-9)


def test_it_is_of_float64_products_unless_said_otherwise_and_does_not_change():
    one = np.ones((1, 1))
    pair = PairMoments(3, one[0], one[0], one, one, one)
    assert pair.epsilon == np.finfo(np.float64).eps
    with pytest.raises(FrozenInstanceError):
        pair.n = 4
