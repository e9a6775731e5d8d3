"""Whitened rows of the train sample have mean zero and the identity as covariance."""

import numpy as np
import pytest

from ato.errors import DataError, LayerError
from ato.moments import Moments
from ato.moments.whitening import Whitening, groups_of

N, D = 400, 6


def rows_of(seed: int = 0) -> np.ndarray:
    """Correlated rows far from zero, one coordinate 1000 times larger than the rest."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(N, D)) @ rng.normal(size=(D, D)) + 300 * rng.choice([-1, 1], D)
    x[:, 0] *= 1000
    return x


def whitening_of(x: np.ndarray, **options) -> Whitening:
    centred = x - x.mean(0)
    return Whitening.from_scatter(x.mean(0), centred.T @ centred, len(x), **options)


def test_whitened_rows_have_mean_zero_and_unit_covariance():
    x = rows_of()
    found = whitening_of(x)
    white = (x - found.mean) @ found.matrix
    assert (found.n, found.kept) == (N, D)
    np.testing.assert_allclose(white.mean(0), 0, atol=1e-9)
    np.testing.assert_allclose(white.T @ white / N, np.eye(D), atol=1e-9)


def test_norms_are_those_of_the_inverse_root_of_the_covariance():
    x = rows_of()
    found = whitening_of(x)
    covariance = np.cov(x.T, bias=True)
    y = np.random.default_rng(1).normal(size=(20, D)) * x.std(0)
    mahalanobis = np.einsum("ni,ij,nj->n", y, np.linalg.inv(covariance), y)
    np.testing.assert_allclose(((y @ found.matrix) ** 2).sum(1), mahalanobis, rtol=1e-7)


def test_directions_without_variance_are_dropped_and_small_honest_ones_are_kept():
    x = rows_of()
    x[:, 3] = x[:, 1] + 2 * x[:, 2]  # follows from others
    x[:, 4] = 7.0
    x[:, 5] *= 1e-8
    found = whitening_of(x)
    assert found.kept == 4
    white = (x - found.mean) @ found.matrix
    np.testing.assert_allclose(white.T @ white / N, np.eye(4), atol=1e-6)
    assert np.abs(found.matrix[5]).max() > 0
    assert not found.matrix[4].any()
    assert whitening_of(np.ones((5, 3))).kept == 0


def test_what_float32_cannot_tell_from_its_mean_is_constant():
    x = rows_of()
    x[:, 5] = 1e6 + 0.01 * np.random.default_rng(2).normal(size=N)
    assert whitening_of(x).kept == D
    assert whitening_of(x, resolution=4e-7).kept == D - 1


def test_of_a_layer_it_is_that_of_its_train_rows_made_once_until_more_rows_come():
    x, y, group = rows_of(), rows_of(1), np.arange(N) % 4  # two folds, val and test
    moments = Moments([(1, 2)], n_folds=2).update({1: x, 2: y}, group)
    expected = whitening_of(y[group < 2])
    found = Whitening.of_layer(moments, 2)
    np.testing.assert_allclose(found.matrix @ found.matrix.T, expected.matrix @ expected.matrix.T, rtol=1e-6)
    assert Whitening.of_layer(moments, 2) is found
    assert Whitening.of_layer(moments, 2, ["train-0", "train-1"]) is found
    assert Whitening.of_layer(moments, 2, "test") is not found
    assert Whitening.of_layer(moments, 2, "test").n == N / 4
    moments.update({1: x, 2: y}, group)
    assert Whitening.of_layer(moments, 2).n == 2 * found.n
    with pytest.raises(LayerError):
        Whitening.of_layer(moments, 3)
    with pytest.raises(DataError):
        Whitening.of_layer(Moments([(1, 2)]), 2)


def test_train_stands_for_all_folds_and_other_names_for_themselves():
    moments = Moments([(1, 2)], n_folds=3)
    assert groups_of(moments, "train") == ["train-0", "train-1", "train-2"]
    assert groups_of(moments, "val") == ["val"]
    assert groups_of(moments, ("train-1", "test")) == ["train-1", "test"]
