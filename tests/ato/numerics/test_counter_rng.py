"""Numbers made from keys: the published generator, uniform, and independent of the order of drawing."""

import numpy as np
import pytest

from ato.numerics.counter_rng import splitmix64, uniforms

MASK = (1 << 64) - 1


def splitmix(key: int) -> int:
    """SplitMix64 as published, in integers of any size."""
    key = (key + 0x9E3779B97F4A7C15) & MASK
    key = ((key ^ (key >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    key = ((key ^ (key >> 27)) * 0x94D049BB133111EB) & MASK
    return key ^ (key >> 31)


def test_it_is_the_published_generator():
    # The first numbers of the reference implementation from the state 0.
    states = np.array([0, 0x9E3779B97F4A7C15, 2 * 0x9E3779B97F4A7C15 & MASK], dtype=np.uint64)
    assert [f"{x:016X}" for x in splitmix64(states)] == ["E220A8397B1DCDAF", "6E789E6AA1B965F4", "06C45D188009454F"]
    keys = [0, 1, 2**63, MASK, 12345678901234567890]
    assert splitmix64(np.array(keys, dtype=np.uint64)).tolist() == [splitmix(key) for key in keys]


def test_different_keys_give_different_numbers():
    assert len(np.unique(splitmix64(np.arange(10**6, dtype=np.uint64)))) == 10**6


def test_numbers_are_those_of_their_keys_whatever_else_is_drawn_with_them():
    whole = uniforms(3, np.arange(50)[:, None], np.arange(-5, 5))
    assert whole.shape == (50, 10)
    for i, j in ((0, 0), (17, 3), (49, 9)):
        assert uniforms(3, i, j - 5).item() == whole[i, j]
    assert not np.isin(uniforms(4, np.arange(50)[:, None], np.arange(-5, 5)), whole).any()
    assert uniforms(1, 2).item() != uniforms(2, 1).item()


def test_numbers_are_uniform_and_neighbours_uncorrelated():
    u = uniforms(0, np.arange(200_000))
    assert 0 <= u.min() < u.max() < 1
    counts = np.bincount((u * 20).astype(int), minlength=20)
    assert ((counts - 10_000) ** 2 / 10_000).sum() < 43.8  # chi-square, 19 degrees of freedom, 0.999
    assert u.mean() == pytest.approx(0.5, abs=4 / np.sqrt(12 * 200_000))
    assert abs(np.corrcoef(u[1:], u[:-1])[0, 1]) < 4 / np.sqrt(200_000)
