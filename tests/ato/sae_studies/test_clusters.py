"""Clusters are those that were planted, do not depend on the order of features, and say when they are unstable."""

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from ato.errors import InputError, SettingsError
from ato.sae_studies.clusters import ClusterSettings, cluster_features
from tests.ato.sae_studies.planted import relu_sae

D = 16
SIZES = (20, 15, 10, 10)


def planted(noise: float = 0.15, seed: int = 0):
    """An SAE whose rows are of four directions, of lengths that differ, and the number of each row's direction."""
    rng = np.random.default_rng(seed)
    truth = np.repeat(np.arange(len(SIZES)), SIZES)
    rows = np.eye(D)[truth * 3] + noise * rng.normal(size=(len(truth), D))
    order = rng.permutation(len(truth))
    return rows[order] * rng.uniform(0.5, 2, size=(len(truth), 1)), truth[order]


def everything(rows):
    return np.ones(len(rows), dtype=bool)


SETTINGS = [ClusterSettings(n_clusters=4), ClusterSettings("hdbscan")]


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.method)
def test_planted_clusters_are_found_numbered_by_size_and_stable(settings):
    rows, truth = planted()
    found = cluster_features(relu_sae(rows), everything(rows), settings)
    placed = found.cluster >= 0
    assert adjusted_rand_score(truth[placed], found.cluster[placed]) == 1.0
    assert placed.mean() > 0.8
    assert (np.diff(found.size) <= 0).all()
    assert found.size.tolist() == np.bincount(found.cluster[placed]).tolist()
    assert found.stability > 0.8
    assert not found.stability_by_chance > 0.7
    assert found.unstable is False
    assert not found.cluster_unstable.any()
    assert set(found.versions) == {"numpy", "scipy", "scikit-learn"}


@pytest.mark.parametrize("settings", SETTINGS, ids=lambda s: s.method)
def test_features_in_another_order_have_the_same_clusters(settings):
    rows, _ = planted(noise=0.35)
    rows[7] = rows[3]  # equal rows, which no content tells apart
    active = everything(rows)
    active[5] = False
    order = np.random.default_rng(3).permutation(len(rows))
    a = cluster_features(relu_sae(rows), active, settings)
    b = cluster_features(relu_sae(rows[order]), active[order], settings)
    labels = np.full((2, len(rows)), -9)
    labels[0, a.feature_id], labels[1, order[b.feature_id]] = a.cluster, b.cluster
    np.testing.assert_array_equal(labels[0], labels[1])
    for name in ("stability", "stability_by_chance", "similarity", "nearest_similarity"):
        np.testing.assert_equal(getattr(a, name), getattr(b, name))
    np.testing.assert_array_equal(a.cluster_stability, b.cluster_stability)
    np.testing.assert_array_equal(a.similarity_within, b.similarity_within)
    np.testing.assert_array_equal(rows[a.medoid], rows[order][b.medoid])
    assert (a.n_left_out, 5 in a.feature_id) == (1, False)


def test_directions_without_clusters_are_flagged():
    rows = np.random.default_rng(0).normal(size=(80, D))
    found = cluster_features(relu_sae(rows), everything(rows), ClusterSettings(n_clusters=8))
    assert found.unstable is True
    assert found.cluster_unstable.any()
    assert found.stability < 0.6


def test_one_planted_cluster_among_scattered_directions_is_the_stable_one():
    rng = np.random.default_rng(1)
    rows = np.concatenate([np.eye(D)[0] + 0.05 * rng.normal(size=(30, D)), rng.normal(size=(60, D))])
    found = cluster_features(relu_sae(rows), everything(rows), ClusterSettings(n_clusters=8))
    tight = found.cluster[0]
    assert (found.cluster[:30] == tight).all()
    assert not found.cluster_unstable[tight]
    assert found.cluster_unstable.sum() >= 4


def test_similarities_are_those_of_pairs_of_different_features():
    rows, _ = planted()
    rows[7] = 2 * rows[3]  # the same direction
    rows[8] = rows[3]
    found = cluster_features(relu_sae(rows), everything(rows), SETTINGS[0])
    u = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    cosine = u @ u.T
    other = ~np.eye(len(rows), dtype=bool)
    assert found.similarity == pytest.approx(cosine[other].mean(), abs=1e-6)
    assert found.nearest_similarity == pytest.approx(np.where(other, cosine, -1).max(1).mean(), abs=1e-6)
    for cluster in range(4):
        own = found.cluster == cluster
        inside = cosine[np.ix_(own, own)]
        assert found.similarity_within[cluster] == pytest.approx(
            inside[~np.eye(own.sum(), dtype=bool)].mean(), abs=1e-6
        )
        assert found.similarity_outside[cluster] == pytest.approx(cosine[np.ix_(own, ~own)].mean(), abs=1e-6)
        assert found.cluster[found.medoid[cluster]] == cluster


def test_where_every_feature_is_noise_stability_is_missing_with_a_reason():
    rows = np.random.default_rng(0).normal(size=(12, D))
    found = cluster_features(relu_sae(rows), everything(rows), ClusterSettings("hdbscan", min_cluster_size=6))
    assert (found.cluster == -1).all()
    assert np.isnan(found.stability)
    assert found.unstable is None
    assert "noise" in found.reason
    assert len(found.size) == 0


def test_a_cluster_of_one_feature_has_no_similarity_within():
    rows = np.concatenate([np.tile(np.eye(D)[0], (5, 1)) + 1e-3 * np.eye(D)[1:6], np.eye(D)[[9]]])
    found = cluster_features(relu_sae(rows), everything(rows), ClusterSettings(n_clusters=2))
    assert found.size.tolist() == [5, 1]
    assert np.isnan(found.similarity_within[1])


def test_what_cannot_be_clustered_is_refused():
    rows, _ = planted()
    sae = relu_sae(rows)
    with pytest.raises(InputError, match="fewer clusters"):
        cluster_features(sae, everything(rows), ClusterSettings(n_clusters=99))
    with pytest.raises(InputError, match="cannot be clustered"):
        cluster_features(sae, ~everything(rows))
    with pytest.raises(InputError, match="mask"):
        cluster_features(sae, np.ones(3, dtype=bool))
    with pytest.raises(SettingsError, match="kmeans or hdbscan"):
        ClusterSettings("ward")
    with pytest.raises(SettingsError, match="min_cluster_size"):
        ClusterSettings(min_cluster_size=1)
