"""Histograms are those of numpy, whatever the blocks."""

import numpy as np
import pytest
import torch

from ato.errors import MismatchError
from ato.features.activation_histograms import N_BINS, ActivationHistograms, histogram_edges
from ato.saes.autoencoder import ActiveFeatures


def active(feature: np.ndarray, value: np.ndarray) -> ActiveFeatures:
    n = len(feature)
    values = torch.from_numpy(np.asarray(value, dtype=np.float32))
    return ActiveFeatures(n, torch.arange(n), torch.from_numpy(feature), values)


def test_counts_are_those_of_numpy_s_histogram_at_edges_too():
    rng = np.random.default_rng(0)
    edges = histogram_edges()
    assert len(edges) == N_BINS + 1
    at_edges = edges[1:-1].astype(np.float32)
    assert (at_edges == edges[1:-1]).all()
    around = [np.nextafter(at_edges, np.float32(side)) for side in (0, 1e9)]
    value = np.concatenate([rng.lognormal(0, 4, 5000).astype(np.float32), at_edges, *around, [1e-38, 3e38, 1e-45]])
    value = value.astype(np.float32)
    feature = rng.integers(3, size=len(value))
    found = ActivationHistograms(4).update(active(feature, value)).result()
    for f in range(4):
        own = value[feature == f]
        np.testing.assert_array_equal(found.counts[f], np.histogram(own.astype(np.float64), edges)[0])
        assert found.n_active[f] == len(own)
        assert found.total[f] == pytest.approx(own.astype(np.float64).sum())
        assert np.isnan(found.maximum[f]) if f == 3 else found.maximum[f] == own.max()
    assert found.n_tokens == len(value)


def test_histograms_add_and_blocks_change_nothing():
    rng = np.random.default_rng(1)
    feature, value = rng.integers(5, size=900), rng.lognormal(size=900)
    whole = ActivationHistograms(5).update(active(feature, value)).result()
    first, second = ActivationHistograms(5), ActivationHistograms(5)
    for i, part in enumerate(np.array_split(rng.permutation(900), 8)):
        (first if i < 3 else second).update(active(feature[part], value[part]))
    found = (second + first).result()
    for name in ("counts", "n_tokens", "n_active", "maximum"):
        np.testing.assert_array_equal(getattr(found, name), getattr(whole, name))
    np.testing.assert_allclose(found.total, whole.total)
    with pytest.raises(MismatchError):
        first + ActivationHistograms(6)


def test_equal_activations_share_a_bin_and_no_activation_has_none():
    found = ActivationHistograms(2).update(active(np.zeros(50, dtype=int), np.full(50, 1.25))).result()
    assert found.counts[0].max() == 50
    assert histogram_edges()[found.counts[0].argmax()] == 1.25
    empty = ActivationHistograms(2).update(active(np.zeros(0, dtype=int), np.zeros(0))).result()
    assert not empty.counts.any()
    assert np.isnan(empty.maximum).all()
