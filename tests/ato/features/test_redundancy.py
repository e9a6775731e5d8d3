"""Redundancy equals the largest entry of a dense matrix of correlations, whatever the blocks."""

import numpy as np
import pytest

from ato.errors import MismatchError
from ato.features.redundancy import CoActivations
from tests.ato.entities.planted_entities import triplets


def sparse(n: int, d: int, seed: int = 0) -> np.ndarray:
    """Activations [n, d] float32, three quarters of them 0."""
    dense = np.random.default_rng(seed).normal(size=(n, d)) - 0.7
    return np.maximum(dense, 0).astype(np.float32)


@pytest.mark.parametrize("tile", [1, 5, 512])
def test_it_is_the_largest_entry_of_corrcoef_in_any_tiling_and_in_any_parts(monkeypatch, tile):
    monkeypatch.setattr("ato.features.redundancy._TILE", tile)
    dense = sparse(200, 13)
    dense[150:] = 0  # tokens without any feature count too
    expected = np.abs(np.corrcoef(dense.T.astype(np.float64)))
    np.fill_diagonal(expected, -1)
    whole = CoActivations(13).update(triplets(dense))
    first, second = (CoActivations(13).update(triplets(part)) for part in (dense[:77], dense[77:]))
    for found in (whole.result(), (first + second).result(), (second + first).result()):
        np.testing.assert_allclose(found.correlation, expected.max(1), rtol=1e-9)
        np.testing.assert_array_equal(found.feature, expected.argmax(1))


def test_saes_of_different_sizes_cannot_be_added():
    with pytest.raises(MismatchError, match="SAEs with 3 and 4 features"):
        CoActivations(3) + CoActivations(4)


@pytest.mark.parametrize("tile", [1, 3, 512])
def test_constant_and_duplicate_features_have_no_and_full_redundancy(monkeypatch, tile):
    monkeypatch.setattr("ato.features.redundancy._TILE", tile)
    rng = np.random.default_rng(0)
    dense = np.maximum(rng.normal(size=(60, 6)), 0).astype(np.float32)
    dense[:, 1] = 0.3  # always on, always equal
    dense[:, 4] = 2 * dense[:, 2]
    dense[:, 5] = 1000 + dense[:, 0]
    pairs = CoActivations(6)
    for rows in np.array_split(dense, 4):
        pairs.update(triplets(rows))
    found = pairs.result()
    assert np.isnan(found.correlation[1])
    assert found.feature[1] == -1
    np.testing.assert_allclose(found.correlation[[2, 4]], 1, rtol=1e-12)
    assert (found.feature[2], found.feature[4]) == (4, 2)
    assert found.correlation[0] == pytest.approx(1, abs=1e-5)
    assert 1 not in found.feature


def test_a_single_feature_has_nothing_to_be_redundant_with():
    found = CoActivations(1).update(triplets(np.array([[1.0], [0.0], [2.0]]))).result()
    assert np.isnan(found.correlation).all()
    assert (found.feature == -1).all()
