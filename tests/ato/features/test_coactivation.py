"""Counts of two features on one token are those of the dense activations; neighbours are the first of a full sort."""

import numpy as np
import pytest
import torch
from sklearn.metrics import jaccard_score, matthews_corrcoef

from ato.errors import InputError, MismatchError
from ato.features.coactivation import CoFiringCounts, coactivation_neighbours, cosine_neighbours
from tests.ato.features.planted_text import D_SAE, LAYER, SILENT, PlantedText, planted_text

FEATURES = np.array([22, 3, SILENT])


@pytest.fixture(scope="module")
def text() -> PlantedText:
    return planted_text()


@pytest.fixture(scope="module")
def fires(text) -> np.ndarray:
    return text.dense[~np.isnan(text.dense[:, :, 0])] > 0


def counts(text: PlantedText, *blocks, features: np.ndarray = FEATURES) -> CoFiringCounts:
    counted = CoFiringCounts(D_SAE, features)
    for block in blocks:
        counted.update(text.sae.active(block.residuals[LAYER]))
    return counted


def test_counts_jaccard_and_phi_are_those_of_scikit_learn(text, fires):
    found = counts(text, text.block).result()
    assert found.features.tolist() == [3, SILENT, 22]
    assert found.n_tokens == len(fires)
    both = fires.T.astype(int) @ fires
    np.testing.assert_array_equal(found.n_both, both[found.features])
    np.testing.assert_array_equal(found.n_active, np.diag(both))
    for i, f in enumerate(found.features):
        for g in range(D_SAE):
            if f == SILENT or not fires[:, g].any():
                assert np.isnan(found.phi[i, g])
            else:
                assert found.jaccard[i, g] == pytest.approx(jaccard_score(fires[:, f], fires[:, g]))
                assert found.phi[i, g] == pytest.approx(matthews_corrcoef(fires[:, f], fires[:, g]), abs=1e-12)
    assert np.isnan(found.jaccard[1, SILENT])


@pytest.mark.parametrize("by", ["phi", "jaccard"])
def test_neighbours_are_the_first_that_ever_fire_with_the_feature(text, fires, by):
    found = counts(text, text.block).result()
    neighbours = coactivation_neighbours(found, 4, by)
    value = found.phi if by == "phi" else found.jaccard
    assert SILENT not in neighbours.feature_id
    for i, f in ((0, 3), (2, 22)):
        others = [g for g in range(D_SAE) if g != f and found.n_both[i, g]]
        expected = sorted(others, key=lambda g: (-value[i, g], g))[:4]
        own = neighbours.feature_id == f
        assert neighbours.neighbour[own].tolist() == expected
        assert neighbours.rank[own].tolist() == list(range(1, len(expected) + 1))
        np.testing.assert_array_equal(neighbours.value[own], value[i, expected])


def test_cosine_neighbours_are_those_of_all_cosines_and_a_row_of_zeros_has_none():
    rows = torch.randn(40, 8, generator=torch.Generator().manual_seed(0))
    rows[7], rows[11] = 0, rows[3] * 2
    directions = rows / rows.norm(dim=1).clamp_min(1e-9)[:, None]
    found = cosine_neighbours(directions, np.array([3, 7]), 5)
    cosine = (directions[3] @ directions.T).numpy()
    expected = [g for g in np.argsort(-cosine, kind="stable") if g != 3 and cosine[g] > 0][:5]
    assert found.feature_id.tolist() == [3] * 5
    assert found.neighbour.tolist() == expected
    assert found.neighbour[0] == 11
    assert found.value[0] == pytest.approx(1)


def test_order_of_blocks_and_merging_change_nothing(text):
    parts = text.parts(5)
    whole, merged = counts(text, text.block).result(), (counts(text, *parts[2:]) + counts(text, *parts[:2])).result()
    np.testing.assert_array_equal(merged.n_both, whole.n_both)
    np.testing.assert_array_equal(merged.n_active, whole.n_active)
    with pytest.raises(MismatchError):
        counts(text) + counts(text, features=FEATURES[:1])


def test_nothing_chosen_nothing_seen_and_features_that_do_not_exist(text):
    assert not len(coactivation_neighbours(counts(text, text.block, features=np.zeros(0, dtype=int)).result()))
    assert not len(coactivation_neighbours(counts(text).result()))
    assert not len(cosine_neighbours(text.sae.decoder_directions, np.zeros(0, dtype=int)))
    with pytest.raises(InputError, match="no feature 24"):
        CoFiringCounts(D_SAE, np.array([D_SAE]))
    with pytest.raises(InputError, match="named twice"):
        CoFiringCounts(D_SAE, np.array([1, 1]))
