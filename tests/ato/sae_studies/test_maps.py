"""Maps are the same for the same seed and for any order of features, and say how they were made."""

import numpy as np
import pytest

from ato.errors import InputError, SettingsError, UnavailableError
from ato.sae_studies import maps
from ato.sae_studies.maps import MapSettings, map_features
from tests.ato.sae_studies.planted import relu_sae
from tests.ato.sae_studies.test_clusters import everything, planted


def places_by_feature(found, n):
    places = np.full((n, 2), np.nan)
    places[found.feature_id] = np.stack([found.x, found.y], axis=1)
    return places


def check_same_twice_and_in_another_order(settings):
    rows, truth = planted()
    rows[7] = rows[3]
    active = everything(rows)
    active[5] = False
    order = np.random.default_rng(3).permutation(len(rows))
    first, again = (map_features(relu_sae(rows), active, settings) for _ in range(2))
    moved = map_features(relu_sae(rows[order]), active[order], settings)
    expected = places_by_feature(first, len(rows))
    np.testing.assert_array_equal(places_by_feature(again, len(rows)), expected)
    np.testing.assert_array_equal(places_by_feature(moved, len(rows)), expected[order])
    assert (len(first.x), first.n_left_out) == (len(rows) - 1, 1)
    assert np.isnan(expected[5]).all()
    assert first.trustworthiness == moved.trustworthiness
    return first, truth[first.feature_id]


def test_pca_maps_do_not_depend_on_the_order_of_features():
    found, _ = check_same_twice_and_in_another_order(MapSettings("pca"))
    assert found.method == "pca"
    assert found.reason is None
    assert found.trustworthiness == found.trustworthiness_pca > found.trustworthiness_shuffled


def test_pca_places_are_the_first_two_principal_components():
    from sklearn.decomposition import PCA

    rows, _ = planted()
    found = map_features(relu_sae(rows), everything(rows), MapSettings("pca"))
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    pca = PCA(2).fit(unit)
    np.testing.assert_allclose(np.abs([found.x, found.y]), np.abs(pca.transform(unit).T), atol=1e-6)
    assert found.explained_share == pytest.approx(pca.explained_variance_ratio_.sum(), abs=1e-6)


def test_umap_is_given_the_exact_neighbours_by_cosine():
    from sklearn.neighbors import NearestNeighbors

    rows, _ = planted()
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    index, distance = maps._neighbours(unit, 6)
    expected = NearestNeighbors(n_neighbors=6, metric="cosine", algorithm="brute").fit(unit).kneighbors(unit)
    np.testing.assert_array_equal(index, expected[1])
    np.testing.assert_allclose(distance, expected[0], atol=1e-6)


@pytest.mark.slow
def test_umap_maps_are_the_same_twice_in_one_process_and_for_any_order_of_features():
    found, truth = check_same_twice_and_in_another_order(MapSettings("umap", n_neighbours=8))
    assert found.method == "umap"
    assert {"umap-learn", "numba", "pynndescent", "numpy"} <= set(found.versions)
    assert found.trustworthiness > found.trustworthiness_shuffled + 0.2
    # The planted groups are apart: nearest features on the map are of one direction.
    places = np.stack([found.x, found.y], axis=1)
    distance = np.linalg.norm(places[:, None] - places, axis=2)
    np.fill_diagonal(distance, np.inf)
    assert (truth[distance.argmin(1)] == truth).mean() > 0.9


def test_where_umap_is_not_installed_auto_is_pca_and_says_so(monkeypatch):
    monkeypatch.setattr(maps, "find_spec", lambda name: None)
    rows, _ = planted()
    found = map_features(relu_sae(rows), everything(rows))
    assert found.method == "pca"
    assert "not installed" in found.reason
    with pytest.raises(UnavailableError, match="extra maps"):
        map_features(relu_sae(rows), everything(rows), MapSettings("umap"))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_few_features_are_mapped_by_pca_with_the_reason(n):
    rows, _ = planted()
    found = map_features(relu_sae(rows[:n]), everything(rows[:n]))
    assert (found.method, len(found.x)) == ("pca", n)
    assert "few" in found.reason
    assert np.isfinite([found.x, found.y]).all()
    if n < 3:
        assert np.isnan(found.trustworthiness)
    with pytest.raises(InputError, match="too few"):
        map_features(relu_sae(rows[:n]), everything(rows[:n]), MapSettings("umap"))


def test_what_cannot_be_mapped_is_refused():
    rows, _ = planted()
    with pytest.raises(InputError, match="no living feature"):
        map_features(relu_sae(rows), ~everything(rows))
    with pytest.raises(SettingsError, match="unknown map"):
        MapSettings("tsne")
    with pytest.raises(SettingsError, match="neighbours"):
        MapSettings(n_neighbours=1)
