"""Baselines as SAEs: scikit-learn's PCA is the oracle, k components are the best k of their basis."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn.decomposition import PCA
from sklearn.linear_model import LinearRegression

from ato.errors import DataError, InputError, MismatchError, NonFiniteError
from ato.residuals import MemorySource, run_pass
from ato.sae_studies.baselines import (
    BASELINES,
    ResidualCovariance,
    baseline_saes,
    basis_dictionary,
    calibrated,
    linear_transcoder,
    pca_dictionary,
    random_dictionary,
)
from ato.saes.quality import SAEQuality

D, LAYER = 16, 3


def tokens(n: int = 500, seed: int = 0) -> np.ndarray:
    """[n, D] with unequal variances and a mean that is ten times as long as they are."""
    rng = np.random.default_rng(seed)
    mixing = rng.normal(size=(D, D)) * np.geomspace(4, 0.1, D)[:, None]
    return (rng.normal(size=(n, D)) @ mixing + 100 * rng.normal(size=D)).astype(np.float32)


def source(x: np.ndarray, **options) -> MemorySource:
    return MemorySource({LAYER: torch.from_numpy(x)}, document=np.arange(len(x)) // 25, **options)


def moments(x: np.ndarray, **options) -> ResidualCovariance:
    found = ResidualCovariance(LAYER)
    run_pass(source(x, **options), [found])
    return found


def test_streamed_moments_are_those_of_numpy_whatever_the_blocks_and_the_order_of_adding():
    x = tokens()
    whole, streamed = moments(x), moments(x, block_rows=37)
    np.testing.assert_allclose(whole.mean(), x.astype(np.float64).mean(0), rtol=1e-12)
    np.testing.assert_allclose(whole.covariance(), np.cov(x.T.astype(np.float64), bias=True), atol=1e-9)
    np.testing.assert_allclose(streamed.covariance(), whole.covariance(), atol=1e-9)
    merged = ResidualCovariance(LAYER) + moments(x[300:]) + moments(x[:300])
    assert merged.n == len(x)
    np.testing.assert_allclose(merged.mean(), whole.mean(), rtol=1e-12)
    np.testing.assert_allclose(merged.covariance(), whole.covariance(), atol=1e-9)


def test_pca_has_the_directions_of_scikit_learn_and_keeps_the_k_largest_components_of_each_token():
    x, k = tokens(), 3
    sae = pca_dictionary(moments(x).mean(), moments(x).covariance(), k)
    oracle = PCA().fit(x.astype(np.float64))
    cosines = np.abs((sae.W_dec.numpy()[:D] * oracle.components_).sum(1))
    np.testing.assert_allclose(cosines, 1, atol=1e-5)
    components = oracle.transform(x.astype(np.float64))
    smallest = np.argsort(np.abs(components), axis=1)[:, : D - k]
    np.put_along_axis(components, smallest, 0.0, axis=1)
    expected = oracle.inverse_transform(components)
    np.testing.assert_allclose(sae.reconstruct(torch.from_numpy(x)).numpy(), expected, atol=1e-3)
    assert sae.encode(torch.from_numpy(x)).gt(0).sum(1).tolist() == [k] * len(x)


@pytest.mark.parametrize("name", ["pca", "basis"])
def test_with_as_many_components_as_dimensions_nothing_is_lost(name):
    x = tokens()
    sae = baseline_saes(moments(x), l0=D, d_sae=40)[name]
    quality = SAEQuality(sae, LAYER)
    run_pass(source(x), [quality])
    assert quality.result().fvu.value < 1e-9
    assert quality.result().l0 == pytest.approx(D)


def test_the_basis_keeps_the_coordinates_that_are_farthest_from_the_mean():
    sae = basis_dictionary(np.array([1.0, 1.0, 1.0]), k=1)
    x = torch.tensor([[1.0, 5.0, 2.0], [0.0, 1.0, 1.5]])
    assert sae.reconstruct(x).tolist() == [[1, 5, 1], [0, 1, 1]]


def test_a_random_dictionary_has_unit_rows_and_is_the_same_for_the_same_seed():
    mean = tokens().mean(0)
    first, again, other = (random_dictionary(mean, 64, 4, seed) for seed in (0, 0, 1))
    np.testing.assert_allclose(first.W_dec.norm(dim=1), 1, rtol=1e-6)
    assert first.weights_hash == again.weights_hash != other.weights_hash
    assert torch.equal(first.W_enc, first.W_dec.T)
    assert first.d_sae == 64


def test_calibrated_directions_reconstruct_best_of_all_lengths_and_fire_on_the_same_tokens():
    x = torch.from_numpy(tokens())
    plain = random_dictionary(x.double().mean(0).numpy(), 256, 12, seed=0)

    def error(sae) -> float:
        return (sae.reconstruct(x) - x).double().square().sum().item()

    best = calibrated(plain, x)
    assert torch.equal(best.encode(x) > 0, plain.encode(x) > 0)
    assert error(best) < error(plain)
    factor = (best.W_enc / plain.W_enc).mean()
    for other in (0.97, 1.03):
        assert error(best) < error(replace(plain, W_enc=plain.W_enc * factor * other))
    # orthogonal directions need none
    pca = pca_dictionary(x.double().mean(0).numpy(), np.cov(x.T.numpy(), bias=True), 4)
    np.testing.assert_allclose(calibrated(pca, x).W_enc, pca.W_enc, rtol=1e-4)


def test_all_baselines_have_the_l0_of_the_sae_and_pca_beats_the_others_where_variances_are_unequal():
    x = tokens(2000)
    saes = baseline_saes(moments(x), l0=3.4, d_sae=64, sample=torch.from_numpy(x))
    assert list(saes) == list(BASELINES)
    fvu = {}
    for name, sae in saes.items():
        quality = SAEQuality(sae, LAYER)
        run_pass(source(x), [quality])
        fvu[name] = quality.result().fvu.value
        assert quality.result().l0 == pytest.approx(3, abs=0.05)
    assert fvu["pca"] < min(fvu["random"], fvu["basis"])
    # an L0 beyond the number of dimensions is cut to it, and of a dictionary narrower than that to its width
    assert baseline_saes(moments(x), l0=90, d_sae=8)["pca"].k == D
    assert baseline_saes(moments(x), l0=90, d_sae=8)["random"].k == 8
    assert baseline_saes(moments(x), l0=0.2, d_sae=8)["basis"].k == 1


def test_constant_and_missing_tokens():
    constant = np.full((50, D), 7.0, dtype=np.float32)
    sae = pca_dictionary(moments(constant).mean(), moments(constant).covariance(), 2)
    assert torch.allclose(sae.reconstruct(torch.from_numpy(constant)), torch.from_numpy(constant))
    with pytest.raises(DataError, match="no token was seen"):
        ResidualCovariance(LAYER).mean()
    with pytest.raises(DataError, match="says nothing"):
        calibrated(sae, torch.from_numpy(constant))
    with pytest.raises(MismatchError):
        ResidualCovariance(1) + ResidualCovariance(2)


def test_bad_input_is_refused_in_one_line():
    mean, covariance = np.zeros(D), np.eye(D)
    for k in (0, D + 1):
        with pytest.raises(InputError, match=f"k = {k} is not between 1 and {D} directions"):
            pca_dictionary(mean, covariance, k)
    with pytest.raises(InputError, match="covariance has shape"):
        pca_dictionary(mean, np.eye(3), 1)
    with pytest.raises(NonFiniteError):
        pca_dictionary(mean, covariance * np.nan, 1)
    with pytest.raises(NonFiniteError):
        basis_dictionary(np.full(3, np.inf), 1)
    with pytest.raises(InputError, match="no number of directions"):
        random_dictionary(mean, 0, 1, seed=0)


@pytest.mark.parametrize("constant", [False, True], ids=["x varies in all directions", "a column of x is constant"])
def test_the_linear_map_beside_transcoders_is_that_of_scikit_learn(constant):
    x = tokens() - 100
    if constant:
        x[:, 2] = 7.0
    y = np.tanh(x[:, :10]) @ np.random.default_rng(1).normal(size=(10, 5)) + 3
    pairs = np.concatenate([x, y], axis=1).astype(np.float32)
    made = linear_transcoder(moments(pairs), D)
    expected = LinearRegression().fit(x.astype(np.float64), y).predict(x)
    np.testing.assert_allclose(made.reconstruct(torch.from_numpy(x)).numpy(), expected, atol=2e-3)
    assert not len(made.active(torch.from_numpy(x)).feature)
