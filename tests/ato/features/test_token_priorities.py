"""The sample of tokens is the same in any order, complete where it can be, and uniform where it cannot."""

import numpy as np

from ato.features.token_priorities import TokenSample
from ato.numerics.counter_rng import splitmix64


def tokens(n: int, n_features: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    sequence, position = np.divmod(rng.permutation(n), 100)
    return rng.integers(n_features, size=n), sequence, position, rng.normal(size=(2, n)) + 5


def sample_of(parts, n_features: int, size: int) -> TokenSample:
    sample = TokenSample(n_features, 2, size)
    for part in parts:
        sample.update(*part)
    return sample


def test_where_all_tokens_fit_the_deviations_are_exact():
    feature, sequence, position, values = tokens(500, 4)
    found = sample_of([(feature, sequence, position, values)], 4, 500).deviations()
    for f in range(4):
        own = values[:, feature == f]
        np.testing.assert_allclose(found[:, f], np.abs(own - own.mean(1, keepdims=True)).mean(1), rtol=1e-5)


def test_order_size_of_blocks_and_merging_change_nothing():
    whole = tokens(20_000, 3)
    expected = sample_of([whole], 3, 50).deviations()
    for pieces in (7, 150):
        cuts = np.array_split(np.random.default_rng(pieces).permutation(20_000), pieces)
        parts = [tuple(a[..., cut] for a in whole) for cut in cuts]
        np.testing.assert_allclose(sample_of(parts, 3, 50).deviations(), expected, rtol=1e-6)
        merged = sample_of(parts[::2], 3, 50)
        merged.merge(sample_of(parts[1::2], 3, 50))
        np.testing.assert_allclose(merged.deviations(), expected, rtol=1e-6)


def test_the_sample_is_spread_over_the_stream_and_memory_is_bounded():
    feature, sequence, position, values = tokens(200_000, 2)
    values = np.stack([sequence, position]).astype(float)
    sample = sample_of([tuple(a[..., i::20] for a in (feature, sequence, position, values)) for i in range(20)], 2, 400)
    # uniform over 0 ... 1999 and 0 ... 99: mean absolute deviation a quarter of the range
    np.testing.assert_allclose(sample.deviations() / [[2000], [100]], 0.25, atol=0.02)
    assert len(sample) == 2 * 400


def test_the_tokens_with_the_smallest_priorities_stay_however_unevenly_features_fire():
    rng = np.random.default_rng(5)
    n, size = 30_000, 20
    feature = np.minimum(rng.geometric(0.4, size=n) - 1, 9)
    sequence, position = np.divmod(rng.permutation(n), 100)
    values = np.stack([position, sequence]).astype(float)
    sample = sample_of(
        [tuple(a[..., i::30] for a in (feature, sequence, position, values)) for i in range(30)], 10, size
    )
    priority = splitmix64((sequence.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64))
    for f, found in enumerate(sample.deviations().T):
        own = values[:, feature == f][:, np.argsort(priority[feature == f])[:size]]
        np.testing.assert_allclose(found, np.abs(own - own.mean(1, keepdims=True)).mean(1), rtol=1e-6)
