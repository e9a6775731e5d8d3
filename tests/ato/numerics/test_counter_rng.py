"""Pseudo-random numbers that depend on their keys alone."""

import numpy as np

from ato.numerics.counter_rng import uniforms


def test_numbers_depend_on_their_keys_and_not_on_the_order_of_asking():
    keys = np.arange(1000)
    whole = uniforms(3, keys)
    np.testing.assert_array_equal(whole[::-1], uniforms(3, keys[::-1]))
    np.testing.assert_array_equal(whole[500:], uniforms(3, keys[500:]))
    assert not np.isin(whole, uniforms(4, keys)).any()
    assert np.isin(uniforms(keys, 3), whole).sum() == 1  # that of (3, 3)


def test_numbers_are_uniform_and_neighbours_unrelated():
    drawn = uniforms(0, np.arange(100_000))
    assert 0 <= drawn.min() <= drawn.max() < 1
    assert abs(drawn.mean() - 0.5) < 0.005
    assert abs(drawn.var() - 1 / 12) < 0.002
    assert abs(np.corrcoef(drawn[1:], drawn[:-1])[0, 1]) < 0.01


def test_keys_are_broadcast():
    found = uniforms(np.arange(4)[:, None], np.arange(3))
    assert found.shape == (4, 3)
    assert len(np.unique(found)) == 12
