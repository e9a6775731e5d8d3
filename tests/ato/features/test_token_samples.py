"""The sample of tokens is the same in any order, complete where it can be, and uniform where it cannot."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError
from ato.features.token_samples import TokenSample
from ato.numerics.counter_rng import splitmix64
from ato.residuals import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures


def tokens(n: int, n_features: int, seed: int = 0):
    rng = np.random.default_rng(seed)
    sequence, position = np.divmod(rng.permutation(n), 100)
    return rng.integers(n_features, size=n), rng.normal(size=(2, n)) + 5, sequence, position


def sample_of(parts, n_features: int, size: int) -> TokenSample:
    sample = TokenSample(n_features, size, "random", n_values=2, with_keys=False, seed=None)
    for part in parts:
        sample.add(sample.sift(*part))
    return sample


def test_where_all_tokens_fit_the_deviations_are_exact():
    feature, values, sequence, position = tokens(500, 4)
    found = sample_of([(feature, values, sequence, position)], 4, 500).deviations()
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
        merged = sample_of(parts[::2], 3, 50) + sample_of(parts[1::2], 3, 50)
        np.testing.assert_allclose(merged.deviations(), expected, rtol=1e-6)


def test_the_sample_is_spread_over_the_stream_and_memory_is_bounded():
    feature, _, sequence, position = tokens(200_000, 2)
    values = np.stack([sequence, position]).astype(float)
    sample = sample_of([tuple(a[..., i::20] for a in (feature, values, sequence, position)) for i in range(20)], 2, 400)
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
        [tuple(a[..., i::30] for a in (feature, values, sequence, position)) for i in range(30)], 10, size
    )
    priority = splitmix64((sequence.astype(np.uint64) << np.uint64(24)) + position.astype(np.uint64))
    for f, found in enumerate(sample.deviations().T):
        own = values[:, feature == f][:, np.argsort(priority[feature == f])[:size]]
        np.testing.assert_allclose(found, np.abs(own - own.mean(1, keepdims=True)).mean(1), rtol=1e-6)


@pytest.mark.parametrize("order", ["strongest", "random"])
@pytest.mark.parametrize("one_per", [None, "sequence", "document"])
def test_kept_tokens_are_the_first_of_a_full_sort_whatever_the_blocks(order, one_per):
    rng = np.random.default_rng(3)
    n = 500
    feature, sequence = rng.integers(4, size=n), rng.integers(30, size=n)
    position = rng.permutation(n)
    value = rng.integers(1, 12, size=n).astype(np.float32)  # many ties
    document = sequence // 3
    unit = {"sequence": sequence, "document": document}.get(one_per)

    def kept(*parts: np.ndarray, size: int = 7) -> TokenSample:
        sample = TokenSample(5, size, order, one_per=one_per)
        for rows in parts:
            keys = (key[rows] for key in (sequence, position, position, document))
            sample.add(sample.sift(feature[rows], value[rows][None], *keys))
        return sample

    whole = kept(np.arange(n)).result()
    split = np.array_split(rng.permutation(n), 9)
    for other in (kept(*split), kept(*split[5:]) + kept(*split[:5])):
        for name, values in vars(other.result()).items():
            np.testing.assert_array_equal(values, getattr(whole, name), err_msg=name)
    assert (whole.document is None) == (one_per is None)
    everything = kept(np.arange(n), size=n).result()
    for f in range(4):
        mine = whole.feature == f
        assert mine.sum() == 7
        np.testing.assert_array_equal(whole.position[mine], everything.position[everything.feature == f][:7])
        if unit is not None:
            kept_units = {unit[position == p][0] for p in whole.position[mine]}
            assert len(kept_units) == 7
        if order == "strongest":
            rows = np.flatnonzero(feature == f)
            rows = rows[np.lexsort((position[rows], sequence[rows], -value[rows]))]
            if unit is not None:
                rows = rows[np.sort(np.unique(unit[rows], return_index=True)[1])]
            np.testing.assert_array_equal(whole.position[mine], position[rows[:7]])


def test_a_random_choice_takes_early_and_late_tokens_alike():
    n = 20_000
    sample = TokenSample(1, 500, "random")
    nothing, sequence, position = np.zeros(n, int), np.arange(n) // 100, np.arange(n) % 100
    found = sample.update(*block_of(nothing, np.ones(n), sequence, position)).result()
    places = found.sequence_id * 100 + found.position
    assert abs(places.mean() / n - 0.5) < 5 / np.sqrt(12 * 500)


def block_of(
    feature: np.ndarray, value: np.ndarray, sequence: np.ndarray, position: np.ndarray
) -> tuple[ResidualBlock, ActiveFeatures]:
    """A block of as many tokens, on each of which one feature is active; a token's id is its row."""
    n = len(feature)
    row, zeros = np.arange(n), np.zeros(n, np.int64)
    block = ResidualBlock({}, sequence, position.astype(np.int32), row.astype(np.int32), zeros, zeros.astype(np.int16))
    active = ActiveFeatures(
        n, torch.from_numpy(row), torch.from_numpy(feature), torch.from_numpy(value.astype(np.float32))
    )
    return block, active


def test_a_feature_that_always_fires_alike_fills_no_memory_and_keeps_its_first_tokens():
    sample, n = TokenSample(2, 5), 4000
    order = np.random.default_rng(1).permutation(n)
    for rows in np.array_split(order, 40):
        sample.update(*block_of(np.zeros(len(rows), int), np.full(len(rows), 3.0), rows // 100, rows % 100))
        assert len(sample) <= 2 * 5
    found = sample.result()
    np.testing.assert_array_equal(found.sequence_id * 100 + found.position, np.arange(5))
    assert (found.feature == 0).all()
    np.testing.assert_array_equal(found.rank, np.arange(5))


def test_other_tokens_come_with_another_seed_and_the_same_with_the_same():
    def kept(seed: int | None) -> list[int]:
        sample = TokenSample(1, 20, "random", seed=seed)
        rows = np.arange(1000)
        return (
            sample.update(*block_of(np.zeros(1000, int), np.ones(1000), rows // 10, rows % 10))
            .result()
            .token_id.tolist()
        )

    assert kept(0) == kept(0)
    assert len({tuple(kept(seed)) for seed in (None, 0, 1, 2)}) == 4


def test_nothing_seen_keeps_nothing_and_different_rules_do_not_add():
    empty = TokenSample(3, 4)
    assert len(empty.result().feature) == len(empty) == 0
    assert not TokenSample(3, 4, "random", n_values=2, with_keys=False).deviations().any()
    assert len((empty + TokenSample(3, 4)).result().feature) == 0
    for other in (TokenSample(3, 5), TokenSample(3, 4, "random"), TokenSample(3, 4, one_per="sequence")):
        with pytest.raises(MismatchError, match="different settings"):
            empty + other
