"""Canonical correlations and ceilings against independent algorithms and planted truths."""

import numpy as np
import pytest
import scipy.linalg
import torch

from ato.errors import DataError, InputError, NonFiniteError
from ato.evaluation.ceilings import CanonicalCorrelations, CanonicalModes, ceiling
from ato.moments import Moments
from ato.moments.whitening import Whitening


def planted(rng, n, rho, d_in, d_out):
    """Rows whose population canonical correlations are rho, in random coordinates."""
    x = rng.standard_normal((n, d_in))
    y = rng.standard_normal((n, d_out))
    y[:, : len(rho)] = rho * x[:, : len(rho)] + np.sqrt(1 - np.square(rho)) * y[:, : len(rho)]
    return x @ rng.standard_normal((d_in, d_in)) + 3, y @ rng.standard_normal((d_out, d_out)) - 5


def moments_of(x, y, group=0, **settings):
    rows = {0: torch.as_tensor(x), 1: torch.as_tensor(y)}
    return Moments([(0, 1)], **settings).update(rows, group=np.full(len(x), group))


def full_rank_in_sample_r2(x, y):
    """Whitened R2 of least squares, by residuals: no canonical correlation is computed."""
    x, y = x - x.mean(0), y - y.mean(0)
    error = y - x @ np.linalg.lstsq(x, y, rcond=None)[0]
    return 1 - np.trace(np.linalg.solve(y.T @ y, error.T @ error)) / y.shape[1]


def test_correlations_equal_cosines_of_the_angles_between_column_spaces():
    x, y = planted(np.random.default_rng(0), 300, np.array([0.9, 0.5]), 12, 7)
    angles = scipy.linalg.subspace_angles(x - x.mean(0), y - y.mean(0))
    expected = np.sort(np.cos(angles))[::-1]
    np.testing.assert_allclose(CanonicalModes.from_arrays(x, y).rho_in_sample, expected, atol=1e-8)
    np.testing.assert_allclose(CanonicalModes.from_moments(moments_of(x, y), 0, 1).rho_in_sample, expected, atol=1e-7)


def test_correlations_without_their_modes_are_those_of_the_modes():
    x, y = planted(np.random.default_rng(0), 300, np.array([0.9, 0.5]), 7, 12)
    moments = moments_of(x, y)
    modes, alone = CanonicalModes.from_moments(moments, 0, 1), CanonicalCorrelations.from_moments(moments, 0, 1)
    np.testing.assert_allclose(alone.rho_in_sample, modes.rho_in_sample, atol=1e-12)
    assert alone.d_kept == modes.d_kept == 12
    assert [alone.ceiling(rank) for rank in (1, 4, 50)] == pytest.approx([modes.ceiling(r) for r in (1, 4, 50)])


def test_full_ceiling_equals_the_in_sample_whitened_r2_of_least_squares():
    x, y = planted(np.random.default_rng(1), 200, np.array([0.8, 0.8, 0.3]), 6, 9)
    modes = CanonicalModes.from_arrays(x, y)
    assert modes.d_kept == 9
    assert modes.ceiling(9) == pytest.approx(full_rank_in_sample_r2(x, y), abs=1e-10)
    assert modes.ceiling(50) == modes.ceiling(6)


def test_variates_have_unit_variance_and_pair_only_with_their_partner():
    x, y = planted(np.random.default_rng(2), 150, np.array([0.7]), 5, 8)
    modes = CanonicalModes.from_arrays(x, y)
    u, v = (x - modes.mean_x) @ modes.x_directions, (y - modes.mean_y) @ modes.y_whitening.matrix
    np.testing.assert_allclose(u.T @ u / 150, np.eye(5), atol=1e-9)
    np.testing.assert_allclose(v.T @ v / 150, np.eye(8), atol=1e-9)
    np.testing.assert_allclose(v.T @ u / 150, np.eye(8, 5) * modes.rho_in_sample, atol=1e-9)


@pytest.mark.parametrize("n", [150, 12])
def test_whitened_norms_are_those_of_the_inverse_square_root_of_the_covariance(n):
    y = np.random.default_rng(3).standard_normal((n, 20)) * np.logspace(-3, 3, 20)
    centred = y - y.mean(0)
    whitening = Whitening.from_scatter(y.mean(0), centred.T @ centred, n)
    scaled = centred / centred.std(0)
    expected = np.einsum("nd,de,ne->n", scaled, np.linalg.pinv(scaled.T @ scaled / n), scaled)
    assert whitening.kept == min(20, n - 1)
    np.testing.assert_allclose(np.square(centred @ whitening.matrix).sum(1), expected, rtol=1e-8)


def test_invertible_linear_recoordinates_leave_correlations_and_ceilings_unchanged():
    rng = np.random.default_rng(4)
    x, y = planted(rng, 400, np.array([0.9, 0.6, 0.2]), 10, 6)
    moved = x @ rng.standard_normal((10, 10)) + 100, y @ rng.standard_normal((6, 6)) * np.logspace(-4, 4, 6)
    before, after = (ceiling(a, b, [1, 3, 6]) for a, b in ((x, y), moved))
    np.testing.assert_allclose(after.rho, before.rho, atol=1e-8)
    for rank in (1, 3, 6):
        assert after.held_out[rank] == pytest.approx(before.held_out[rank], abs=1e-8)


def test_independent_data_give_the_known_bias_in_sample_and_nothing_held_out():
    n, d, runs = 1000, 40, 6
    found = [ceiling(*np.random.default_rng(seed).standard_normal((2, n, d)), [d]) for seed in range(runs)]
    in_sample = np.array([c.in_sample[d] for c in found])
    standard_error = in_sample.std(ddof=1) / np.sqrt(runs)
    assert abs(in_sample.mean() - d / (n - 1)) < 3 * max(standard_error, 2e-4)
    assert max(c.held_out[d] for c in found) < 0.01


def test_in_sample_and_held_out_bracket_the_population_ceiling_and_close_in_on_it():
    rho = np.linspace(0.95, 0.1, 15)
    widths = []
    for n in (300, 3000):
        found = [ceiling(*planted(np.random.default_rng(seed), n, rho, 20, 20), [5, 20]) for seed in range(8)]
        for rank in (5, 20):
            lower, upper = (np.mean([getattr(c, end)[rank] for c in found]) for end in ("held_out", "in_sample"))
            assert lower < np.square(rho[:rank]).sum() / 20 < upper
        widths.append(upper - lower)
    assert widths[1] < widths[0] / 3


@pytest.mark.parametrize("from_moments", [False, True], ids=["arrays", "moments"])
def test_constant_and_duplicate_columns_are_not_counted_as_directions(from_moments):
    rng = np.random.default_rng(7)
    x, y = planted(rng, 500, np.array([0.8, 0.4]), 6, 5)
    clean = CanonicalModes.from_arrays(x, y)
    wide_x = np.hstack([x, x[:, :1], np.full((500, 1), 7.3), x[:, 1:2] + x[:, 2:3]])
    wide_y = np.hstack([y, np.full((500, 1), -300.1), 2 * y[:, :1]])
    if from_moments:
        modes = CanonicalModes.from_moments(moments_of(wide_x, wide_y), 0, 1)
    else:
        modes = CanonicalModes.from_arrays(wide_x, wide_y)
    assert (modes.p_kept, modes.d_kept) == (6, 5)
    np.testing.assert_allclose(modes.rho_in_sample, clean.rho_in_sample, atol=1e-6)


def test_float32_products_of_wide_rows_keep_no_direction_made_of_rounding():
    rng = np.random.default_rng(8)
    x, y = (rng.standard_normal((2000, 40)) @ rng.standard_normal((40, 60)) for _ in range(2))
    scales = np.where(np.arange(60) < 3, 1000.0, 1.0)
    rows = [(a * scales + 30 * scales).astype(np.float32) for a in (x, y)]
    modes = CanonicalModes.from_moments(moments_of(*rows, precision="float32"), 0, 1)
    assert (modes.p_kept, modes.d_kept) == (40, 40)
    exact = CanonicalModes.from_arrays(x, y)
    np.testing.assert_allclose(modes.rho_in_sample, exact.rho_in_sample, atol=2e-3)


def test_float32_products_of_fewer_rows_than_dimensions_keep_no_direction_made_of_rounding():
    rows = np.random.default_rng(15).standard_normal((2, 100, 300)).astype(np.float32)
    modes = CanonicalModes.from_moments(moments_of(*rows, precision="float32"), 0, 1)
    assert (modes.p_kept, modes.d_kept) == (99, 99)
    assert modes.ceiling(99) == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(("n", "d_in", "d_out"), [(30, 50, 40), (60, 40, 45), (20, 1, 1), (50, 3, 60)])
def test_few_rows_work_and_never_exceed_one(n, d_in, d_out):
    x, y = (np.random.default_rng(9).standard_normal((n, d)) for d in (d_in, d_out))
    found = ceiling(x, y, [1, 10, 100])
    assert found.d_kept == min(n - 1, d_out)
    values = [*found.rho, *found.in_sample.values(), *found.held_out.values()]
    assert 0 <= min(values) <= max(values) <= 1
    surplus = min(n - 1, d_in) + min(n - 1, d_out) - (n - 1)  # the two spaces share that many dimensions for certain
    np.testing.assert_allclose(found.rho[: max(surplus, 0)], 1, atol=1e-7)


def test_documents_are_never_in_both_halves():
    rng = np.random.default_rng(10)
    # Each document repeats one row: only a split within documents could see a relation.
    documents = np.repeat(np.arange(40), 25)
    x, y = (rng.standard_normal((40, 6))[documents] + 1e-3 * rng.standard_normal((1000, 6)) for _ in range(2))
    shuffled = rng.permutation(1000)
    x, y, documents = x[shuffled], y[shuffled], documents[shuffled]
    by_document = ceiling(x, y, [6], documents).held_out[6]
    by_row = ceiling(x, y, [6]).held_out[6]
    assert by_row > 2 * by_document


def test_groups_choose_the_sample():
    rng = np.random.default_rng(11)
    (x, y), (other_x, other_y) = (planted(rng, 300, np.array([0.9]), 4, 4) for _ in range(2))
    moments = moments_of(x, y, group=0, n_folds=2).update({0: other_x, 1: other_y}, group=np.full(300, 3))
    for groups, rows in (("train", (x, y)), ("test", (other_x, other_y)), (["train-0", "train-1"], (x, y))):
        found = CanonicalModes.from_moments(moments, 0, 1, groups).rho_in_sample
        np.testing.assert_allclose(found, CanonicalModes.from_arrays(*rows).rho_in_sample, atol=1e-9)


def test_torch_rows_give_the_numbers_of_numpy_rows():
    x, y = planted(np.random.default_rng(12), 100, np.array([0.9]), 4, 3)
    expected = ceiling(x, y, [1, 2])
    found = ceiling(torch.from_numpy(x), torch.from_numpy(y), [1, 2])
    assert (found.in_sample, found.held_out, found.n) == (expected.in_sample, expected.held_out, 100)


def test_a_source_that_does_not_vary_explains_nothing_and_a_target_that_does_not_is_refused():
    y = np.random.default_rng(13).standard_normal((50, 3))
    assert CanonicalModes.from_arrays(np.ones((50, 2)), y).ceiling(1) == 0
    with pytest.raises(DataError, match="does not vary"):
        CanonicalModes.from_arrays(y, np.ones((50, 2)))


def test_inputs_that_cannot_be_meant_are_refused():
    rows = np.random.default_rng(14).standard_normal((10, 3))
    with pytest.raises(InputError, match="one row per token"):
        ceiling(rows, rows[:9], [1])
    with pytest.raises(InputError, match="rank 0"):
        ceiling(rows, rows, [0])
    with pytest.raises(InputError, match="two documents"):
        ceiling(rows, rows, [1], documents=np.zeros(10))
    with pytest.raises(NonFiniteError, match="row 4"):
        ceiling(np.where(np.arange(10)[:, None] == 4, np.nan, rows), rows, [1])
