"""Moments: additive, exact, robust to means and scales; oracle is a two-pass computation in float64."""

import itertools

import numpy as np
import pytest
import torch

from ato.errors import (
    DamagedFileError,
    DataError,
    InputError,
    LayerError,
    MismatchError,
    NonFiniteError,
    SettingsError,
)
from ato.moments import Moments, PairMoments
from ato.residuals import MemorySource, run_pass
from ato.text.splits import group_names

N_FOLDS = 3
GROUPS = group_names(N_FOLDS)


def residual_like(n: int, d_in: int, d_out: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with means 300 sd from zero and a few coordinates 1000x larger than the rest, float32."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d_in))
    y = x @ rng.standard_normal((d_in, d_out)) / d_in**0.5 + rng.standard_normal((n, d_out))
    for rows in (x, y):
        rows += 300 * rng.choice([-1, 1], rows.shape[1])
        rows[:, :2] *= 1000
    return x.astype(np.float32), y.astype(np.float32)


def two_pass(x: np.ndarray, y: np.ndarray) -> PairMoments:
    x, y = x.astype(np.float64), y.astype(np.float64)
    a, b = x - x.mean(0), y - y.mean(0)
    return PairMoments(len(x), x.mean(0), y.mean(0), a.T @ a, a.T @ b, b.T @ b)


def largest_difference(got: PairMoments, expected: PairMoments) -> float:
    """Of the scatters, relative to the scales of the two coordinates of each entry."""
    assert got.n == expected.n
    sx, sy = np.sqrt(expected.sxx.diagonal()), np.sqrt(expected.syy.diagonal())
    return max(
        np.abs((got.sxx - expected.sxx) / np.outer(sx, sx)).max(),
        np.abs((got.sxy - expected.sxy) / np.outer(sx, sy)).max(),
        np.abs((got.syy - expected.syy) / np.outer(sy, sy)).max(),
        np.abs((got.mean_x - expected.mean_x) / sx * expected.n**0.5).max(),
        np.abs((got.mean_y - expected.mean_y) / sy * expected.n**0.5).max(),
    )


def gathered(x, y, group, **settings) -> Moments:
    return Moments([(5, 6)], n_folds=N_FOLDS, **settings).update({5: x, 6: y}, group)


@pytest.fixture(scope="module")
def rows():
    x, y = residual_like(2000, 24, 17)
    return x, y, np.random.default_rng(1).integers(0, len(GROUPS), len(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moments_equal_a_two_pass_float64_computation(rows, dtype):
    x, y, group = rows
    moments = gathered(x.astype(dtype), y.astype(dtype), group)
    for names in (("train-0",), ("val",), ("train-0", "train-1", "train-2"), GROUPS):
        mask = np.isin(group, [GROUPS.index(name) for name in names])
        assert largest_difference(moments.summary(5, 6, names), two_pass(x[mask], y[mask])) < 1e-11


def test_float32_products_stay_within_1e_5_of_float64_at_means_of_300_sd(rows):
    x, y, group = rows
    moments = gathered(x, y, group, precision="float32")
    assert largest_difference(moments.summary(5, 6, GROUPS), two_pass(x, y)) < 1e-5
    assert moments.epsilon == np.finfo(np.float32).eps


def test_wide_float32_rows_are_multiplied_in_float32_and_close_to_float64():
    x, y = residual_like(600, 300, 40)
    moments = gathered(x, y, np.zeros(600, dtype=int))
    assert moments.summary(5, 6, ["train-0"]).epsilon == np.finfo(np.float32).eps
    assert largest_difference(moments.summary(5, 6, ["train-0"]), two_pass(x, y)) < 1e-5


def test_shards_merged_in_any_order_equal_the_whole(rows):
    x, y, group = rows
    whole = gathered(x, y, group).summary(5, 6, GROUPS)
    cuts = [0, 1, 150, 900, 2000]
    shards = [gathered(x[a:b], y[a:b], group[a:b]) for a, b in itertools.pairwise(cuts)]
    for order in itertools.permutations(shards):
        merged = order[0] + order[1] + (order[2] + order[3])
        assert largest_difference(merged.summary(5, 6, GROUPS), whole) < 1e-10


def test_block_size_changes_nothing(rows):
    x, y, group = rows
    whole = gathered(x, y, group).summary(5, 6, ["test"])
    streamed = Moments([(5, 6)], n_folds=N_FOLDS)
    for start in range(0, len(x), 33):
        part = slice(start, start + 33)
        streamed.update({5: torch.from_numpy(x[part]), 6: torch.from_numpy(y[part])}, group[part])
    assert largest_difference(streamed.summary(5, 6, ["test"]), whole) < 1e-10


def test_moments_with_different_pilot_means_add_exactly(rows):
    x, y, group = rows
    far = {5: np.full(24, 250.0), 6: np.full(17, -250.0)}
    merged = gathered(x[:700], y[:700], group[:700]) + gathered(x[700:], y[700:], group[700:], pilot_mean=far)
    assert largest_difference(merged.summary(5, 6, GROUPS), two_pass(x, y)) < 1e-9


def test_adding_leaves_both_sides_as_they_were(rows):
    x, y, group = rows
    a, b = gathered(x[:500], y[:500], group[:500]), gathered(x[500:], y[500:], group[500:])
    before = a.summary(5, 6, GROUPS), b.summary(5, 6, GROUPS)
    (a + b).update({5: x, 6: y}, group)
    after = a.summary(5, 6, GROUPS), b.summary(5, 6, GROUPS)
    assert all(np.array_equal(p.sxy, q.sxy) for p, q in zip(before, after, strict=True))


def test_empty_moments_are_neutral(rows):
    x, y, group = rows
    whole = gathered(x, y, group)
    for merged in (whole + Moments([(5, 6)], n_folds=N_FOLDS), Moments([(5, 6)], n_folds=N_FOLDS) + whole):
        assert largest_difference(merged.summary(5, 6, GROUPS), whole.summary(5, 6, GROUPS)) == 0


def test_large_blocks_go_the_same_way_as_small_ones():
    x, y = residual_like(20_000, 6, 5)
    group = np.random.default_rng(0).integers(0, len(GROUPS), len(x))
    assert largest_difference(gathered(x, y, group).summary(5, 6, GROUPS), two_pass(x, y)) < 1e-10


def test_rows_gathered_by_number_are_those_of_a_copy(rows):
    x, y, group = rows
    rng = np.random.default_rng(5)
    for n in (9000, 70):  # more than a product, fewer than a pilot mean
        of_x, of_y = rng.integers(0, len(x), n), rng.permutation(np.arange(n) % len(y))
        codes = group[of_y]
        gathered_by_number = Moments([(5, 6)], n_folds=N_FOLDS).update({5: x, 6: y}, codes, rows={5: of_x, 6: of_y})
        expected = two_pass(x[of_x], y[of_y])
        assert largest_difference(gathered_by_number.summary(5, 6, GROUPS), expected) < 1e-10
    for wrong in ({5: of_x[:5], 6: of_y}, {5: of_x - len(x), 6: of_y}, {5: of_x, 6: of_y + len(y)}):
        with pytest.raises(InputError):
            gathered(x, y, group).update({5: x, 6: y}, codes, rows=wrong)


def test_groups_of_very_different_sizes_are_each_multiplied_once():
    x, y = residual_like(9000, 6, 5)
    group = np.where(np.arange(len(x)) % 1000 == 0, 1, 0)
    moments = Moments([(5, 6)], n_folds=N_FOLDS)
    for start in range(0, len(x), 1100):
        part = slice(start, start + 1100)
        moments.update({5: x[part], 6: y[part]}, group[part])
    for number in (0, 1):
        chosen = group == number
        assert largest_difference(moments.summary(5, 6, [GROUPS[number]]), two_pass(x[chosen], y[chosen])) < 1e-10


def test_rows_of_another_precision_may_follow(rows):
    x, y, group = rows
    wide = np.concatenate([x] * 12, axis=1)
    moments = gathered(wide[:1200], y[:1200], group[:1200])
    moments.update({5: wide[1200:].astype(np.float64), 6: y[1200:].astype(np.float64)}, group[1200:])
    assert largest_difference(moments.summary(5, 6, GROUPS), two_pass(wide, y)) < 1e-5


def test_squares_alone_are_the_diagonal_and_survive_merging_and_their_file(rows, tmp_path):
    x, y, group = rows
    far = {5: np.full(24, 250.0), 6: np.full(17, -250.0)}
    halves = [
        gathered(x[part], y[part], group[part], squares_only=[6], pilot_mean=pilot)
        for part, pilot in ((slice(0, 700), None), (slice(700, None), far))
    ]
    (halves[0] + halves[1]).save(tmp_path / "moments.safetensors")
    moments = Moments.load(tmp_path / "moments.safetensors")
    expected = two_pass(x, y)
    np.testing.assert_allclose(moments.variation(6, GROUPS)[2], expected.syy.diagonal(), rtol=1e-9)
    np.testing.assert_allclose(moments.cross(5, 6, GROUPS), gathered(x, y, group).cross(5, 6, GROUPS), rtol=1e-6)
    with pytest.raises(LayerError, match="squares only"):
        moments.scatter(6, GROUPS)
    with pytest.raises(MismatchError):
        moments + gathered(x, y, group)


def test_a_residual_block_brings_its_groups_and_a_pass_feeds_moments(rows):
    x, y, group = rows
    source = MemorySource(
        {5: torch.from_numpy(x), 6: torch.from_numpy(y), 7: torch.from_numpy(x)},
        group=group,
        n_folds=N_FOLDS,
        block_rows=300,
    )
    moments = Moments([(5, 6), (5, 7), (6, 7)], n_folds=N_FOLDS)
    assert run_pass(source, [moments]) == len(x)
    test = group == GROUPS.index("test")
    assert largest_difference(moments.summary(5, 6, ["test"]), two_pass(x[test], y[test])) < 1e-10
    assert largest_difference(moments.summary(6, 7, ["test"]), two_pass(y[test], x[test])) < 1e-10
    assert moments.d == {5: 24, 6: 17, 7: 24}


def test_fold_numbers_are_the_plain_way_in(rows):
    x, y, _ = rows
    fold = np.arange(len(x)) % N_FOLDS
    moments = Moments([(5, 6)], n_folds=N_FOLDS).update({5: x, 6: y}, fold=fold).update({5: x[:9], 6: y[:9]}, fold=2)
    assert moments.train_folds == ("train-0", "train-1", "train-2")
    assert moments.summary(5, 6, ["train-2"]).n == (fold == 2).sum() + 9


def test_the_caller_may_reuse_its_memory(rows):
    x, y, group = rows
    buffer_x, buffer_y = x.copy(), y.copy()
    moments = gathered(buffer_x, buffer_y, group)
    buffer_x[:], buffer_y[:] = 0, 0
    assert largest_difference(moments.summary(5, 6, GROUPS), two_pass(x, y)) < 1e-10


def test_half_precision_and_read_only_rows_are_taken():
    x = np.random.default_rng(0).standard_normal((50, 4)).astype(np.float16)
    x.flags.writeable = False
    moments = gathered(x, torch.from_numpy(x.copy()).to(torch.bfloat16), np.zeros(50, dtype=int))
    assert np.allclose(moments.summary(5, 6, ["train-0"]).mean_x, x.astype(np.float64).mean(0), atol=1e-7)


def test_saved_moments_come_back_bit_for_bit(rows, tmp_path):
    x, y, group = rows
    moments = gathered(x, y, group)
    moments.save(tmp_path / "moments.safetensors")
    loaded = Moments.load(tmp_path / "moments.safetensors")
    assert (loaded.pairs, loaded.layers, loaded.n_folds, loaded.d) == (((5, 6),), (5, 6), N_FOLDS, {5: 24, 6: 17})
    for name in GROUPS:
        a, b = moments.summary(5, 6, [name]), loaded.summary(5, 6, [name])
        assert all(np.array_equal(getattr(a, field), getattr(b, field)) for field in vars(a))
    merged = (loaded + moments).update({5: x, 6: y}, group)
    assert merged.summary(5, 6, GROUPS).n == 3 * len(x)


def test_some_pairs_of_saved_moments_come_back_alone_and_damage_to_the_others_is_found(rows, tmp_path):
    x, y, group = rows
    path = tmp_path / "moments.safetensors"
    whole = Moments([(5, 6), (5, 7), (7, 6)], n_folds=N_FOLDS).update({5: x, 6: y, 7: x[:, ::2]}, group)
    whole.save(path)
    some = Moments.load(path, [(5, 6)])
    assert (some.pairs, some.layers, some.d) == (((5, 6),), (5, 6), {5: 24, 6: 17})
    a, b = some.summary(5, 6, GROUPS), whole.summary(5, 6, GROUPS)
    assert all(np.array_equal(getattr(a, field), getattr(b, field)) for field in vars(a))
    with pytest.raises(LayerError, match="no moments of the pair 7 -> 6"):
        some.check_pair(7, 6)
    altered = bytearray(path.read_bytes())
    altered[-5] ^= 1  # of a sum of layer 7
    path.write_bytes(bytes(altered))
    with pytest.raises(DamagedFileError, match="altered"):
        Moments.load(path, [(5, 6)])


def test_equal_moments_are_saved_as_equal_bytes(rows, tmp_path):
    for name in ("a", "b"):
        gathered(*rows).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_a_truncated_altered_or_foreign_file_is_refused_in_one_line(rows, tmp_path):
    path = tmp_path / "moments.safetensors"
    gathered(*rows).save(path)
    whole = path.read_bytes()
    altered = bytearray(whole)
    altered[-5] ^= 1
    for content in (whole[: len(whole) // 2], b"", b"not a tensor file", bytes(altered)):
        path.write_bytes(content)
        with pytest.raises(DamagedFileError) as caught:
            Moments.load(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
    with pytest.raises(InputError, match="no moments file"):
        Moments.load(tmp_path / "nowhere")


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_rows_with_nan_or_infinity_are_refused_and_not_counted(rows, bad):
    x, y, group = rows
    moments = gathered(x, y, group)
    spoiled = y.copy()
    spoiled[7, 3] = bad
    with pytest.raises(NonFiniteError, match="layer 6"):
        moments.update({5: x, 6: spoiled}, group)
    assert moments.summary(5, 6, GROUPS).n == len(x)


def test_rows_that_do_not_fit_are_refused(rows):
    x, y, group = rows
    moments = gathered(x, y, group)
    with pytest.raises(LayerError, match=r"\[6\]"):
        moments.update({5: x}, group)
    for residuals in ({5: x[:, :3], 6: y}, {5: x, 6: y[:5]}, {5: x[0], 6: y}):
        with pytest.raises(InputError):
            moments.update(residuals, group)
    for bad in (group[:5], group + 3, group - 1, group.astype(float), None):
        with pytest.raises(InputError):
            moments.update({5: x, 6: y}, bad)
    with pytest.raises(InputError):
        moments.update({5: x, 6: y}, fold=group)  # val and test are no folds


def test_questions_without_an_answer_are_refused(rows):
    x, y, _ = rows
    moments = gathered(x, y, np.zeros(len(x), dtype=int))
    with pytest.raises(LayerError, match="6 -> 5"):
        moments.summary(6, 5, ["train-0"])
    with pytest.raises(LayerError):
        moments.scatter(9, ["train-0"])
    with pytest.raises(SettingsError, match="train-7"):
        moments.summary(5, 6, ["train-7"])
    with pytest.raises(DataError):
        moments.summary(5, 6, ["test"])
    with pytest.raises(DataError):
        Moments([(5, 6)]).summary(5, 6, ["train-0"])


def test_settings_that_make_no_sense_are_refused():
    for settings in ({"pairs": []}, {"pairs": [(1, 1)]}, {"n_folds": 0}, {"precision": "bfloat16"}):
        with pytest.raises(SettingsError):
            Moments(**{"pairs": [(0, 1)], **settings})


def test_moments_of_different_pairs_folds_or_widths_do_not_add(rows):
    x, y, group = rows
    moments = gathered(x, y, group)
    others = (
        Moments([(5, 7)], n_folds=N_FOLDS),
        Moments([(5, 6)], n_folds=4),
        Moments([(5, 6)], n_folds=N_FOLDS).update({5: x[:, :3], 6: y}, group),
    )
    for other in others:
        with pytest.raises(MismatchError):
            moments + other


def test_every_update_gives_the_moments_another_version(rows):
    x, y, group = rows
    moments = gathered(x, y, group)
    before = moments.version
    assert moments.update({5: x, 6: y}, group).version != before
    assert moments.update({5: x[:0], 6: y[:0]}, group[:0]).version == moments.version
