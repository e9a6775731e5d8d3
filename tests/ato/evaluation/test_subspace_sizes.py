"""Sizes of the transport subspace: by hand, of planted ranks, and against the permutation null."""

import numpy as np
import pytest

from ato.evaluation.ceilings import CanonicalModes
from ato.evaluation.subspace_sizes import lts_rank_null, subspace_sizes
from tests.ato.evaluation.test_ceilings import planted


def test_a_planted_rank_is_the_size_of_the_subspace():
    rng = np.random.default_rng(6)
    x = rng.standard_normal((4000, 30))
    y = np.hstack([x[:, :4] + 1e-3 * rng.standard_normal((4000, 4)), rng.standard_normal((4000, 26))])
    modes = CanonicalModes.from_arrays(x, y @ rng.standard_normal((30, 30)))
    assert (modes.rho_in_sample[:4] > 0.999).all()
    assert modes.rho_in_sample[4] < 0.2
    noiseless = subspace_sizes(np.where(modes.rho_in_sample > 0.9, 1.0, 0.0))
    assert (noiseless.participation, noiseless.rank_90, noiseless.rank_99) == (4, 4, 4)


def test_subspace_sizes_by_hand():
    sizes = subspace_sizes(np.array([1.0, 0.5, 0.5, 0.0, np.nan]))
    assert sizes.participation == pytest.approx(4 / 1.5)
    assert (sizes.rank_90, sizes.rank_95, sizes.rank_99) == (3, 3, 3)
    assert sizes.participation_squared == pytest.approx(1.5**2 / (1 + 2 * 0.25**2))
    p = np.array([1, 0.25, 0.25]) / 1.5
    assert sizes.entropy == pytest.approx(np.exp(-(p * np.log(p)).sum()))
    assert subspace_sizes(np.zeros(3)) == subspace_sizes(np.zeros(0))
    assert subspace_sizes(np.zeros(3)).entropy == subspace_sizes(np.zeros(3)).participation_squared == 0


def test_equal_modes_are_counted_by_every_definition():
    sizes = subspace_sizes(np.array([0.4] * 5 + [0.0] * 3))
    found = (sizes.participation, sizes.participation_squared, sizes.entropy, sizes.rank_99)
    assert found == pytest.approx((5, 5, 5, 5))


def test_modes_above_the_permutation_null_are_counted_against_its_largest_correlation():
    rng = np.random.default_rng(0)
    x, y = planted(rng, 2000, np.array([0.9, 0.6, 0.5]), 20, 20)
    nulls = np.stack([CanonicalModes.from_arrays(x, y[rng.permutation(2000)]).rho_in_sample for _ in range(3)])
    rho = CanonicalModes.from_arrays(x, y).rho_in_sample
    assert lts_rank_null(rho, nulls) == lts_rank_null(rho, nulls.max(0)) == 3
    assert lts_rank_null(nulls[0], nulls[0]) == 0
    assert lts_rank_null(np.array([0.9, np.nan, 0.1]), np.array([np.nan, 0.2])) == 1
    assert lts_rank_null(np.array([0.9, 0.0]), np.zeros(0)) == 1
    few = CanonicalModes.from_arrays(x[:30], y[:30]).rho_in_sample  # both spaces share directions for certain
    shuffled = CanonicalModes.from_arrays(x[:30], y[29::-1]).rho_in_sample
    assert lts_rank_null(few, shuffled) == 0
