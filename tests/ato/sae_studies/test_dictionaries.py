"""Dictionaries compared: permutations and duplicates are found exactly, scikit-learn and brute force are the oracles."""

from itertools import permutations

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import cosine_similarity

from ato.errors import InputError
from ato.sae_studies import dictionaries
from ato.sae_studies.dictionaries import decoder_redundancy, dictionary_agreement, largest_cosines, recovery


def rows(n: int, d: int = 16, seed: int = 0) -> torch.Tensor:
    """[n, d] rows of unequal lengths."""
    rng = np.random.default_rng(seed)
    return torch.tensor(rng.normal(size=(n, d)) * rng.uniform(0.1, 9, (n, 1)), dtype=torch.float32)


def test_redundancy_is_the_mean_of_the_largest_cosines_of_scikit_learn_without_the_diagonal(monkeypatch):
    w = rows(30)
    cosines = cosine_similarity(w.numpy())
    np.fill_diagonal(cosines, -np.inf)
    found = decoder_redundancy(w)
    np.testing.assert_allclose(found.largest, cosines.max(1), atol=1e-6)
    assert found.nearest.tolist() == cosines.argmax(1).tolist()
    assert found.mean == pytest.approx(cosines.max(1).mean(), abs=1e-6)
    monkeypatch.setattr(dictionaries, "_COSINES", 70)  # two rows at a time
    np.testing.assert_allclose(decoder_redundancy(w).largest, found.largest, atol=1e-6)
    assert decoder_redundancy(w).nearest.tolist() == found.nearest.tolist()


def test_largest_cosines_are_those_of_scikit_learn_however_few_are_held_at_once(monkeypatch):
    a, b = rows(30), torch.cat([rows(7, seed=1), torch.zeros(1, 16)])
    expected = cosine_similarity(a.numpy(), b[:7].numpy()).max(1)
    np.testing.assert_allclose(largest_cosines(a, b), expected, atol=1e-6)
    monkeypatch.setattr(dictionaries, "_COSINES", 20)  # two rows at a time
    np.testing.assert_allclose(largest_cosines(a, b), expected, atol=1e-6)
    assert largest_cosines(a, torch.zeros(3, 16)).shape == (0,)


def test_duplicates_have_one_orthogonal_rows_zero_and_opposite_ones_are_no_duplicates():
    assert decoder_redundancy(torch.cat([rows(8), 3 * rows(8)])).mean == pytest.approx(1, abs=1e-6)
    assert decoder_redundancy(torch.eye(5)).mean == 0
    assert decoder_redundancy(torch.tensor([[1.0, 0.0], [-2.0, 0.0]])).mean == -1


def test_dead_features_and_rows_of_zeros_are_left_out_and_counted():
    w = torch.cat([rows(6), rows(6), torch.zeros(2, 16)])
    alive = np.array([True] * 6 + [False] * 6 + [True] * 2)
    found = decoder_redundancy(w, alive)
    assert found.n == 6
    assert found.mean == pytest.approx(decoder_redundancy(rows(6)).mean)
    assert np.isnan(found.largest[6:]).all()
    assert (found.nearest[6:] == -1).all()
    assert set(found.nearest[:6]) <= set(range(6))
    for nothing in (decoder_redundancy(w, alive & False), decoder_redundancy(rows(1)), decoder_redundancy(w[:0])):
        assert nothing.mean is None
        assert nothing.metrics()[0].reason == "fewer than two features are alive"


def test_a_dictionary_agrees_with_its_own_permutation_and_the_permutation_is_found():
    w, order = rows(40), np.random.default_rng(1).permutation(40)
    found = dictionary_agreement(w, 2 * w[order])
    assert found.matched_cosine == pytest.approx(1, abs=1e-6)
    assert (found.matched_share, found.n_matched) == (1, 40)
    assert found.max_cosine == pytest.approx((1, 1), abs=1e-6)
    np.testing.assert_array_equal(order[found.partner], np.arange(40))
    assert found.null.matched_cosine < 0.7
    assert found.null.matched_share == 0


def test_the_matching_is_the_best_of_all_and_not_the_greedy_one():
    a, b = rows(6, 4), rows(6, 4, seed=1)
    cosines = cosine_similarity(a.numpy(), b.numpy())
    best = max(cosines[np.arange(6), list(order)].mean() for order in permutations(range(6)))
    found = dictionary_agreement(a, b)
    assert found.matched_cosine == pytest.approx(best, abs=1e-6)
    assert found.max_cosine == pytest.approx((cosines.max(1).mean(), cosines.max(0).mean()), abs=1e-6)
    assert found.matched_cosine < found.max_cosine[0]  # three rows may have one nearest: the matching does not


def test_dictionaries_of_other_sizes_match_the_smaller_and_dead_features_have_no_partner():
    big, small = rows(20), rows(20)[[3, 5, 7, 11]]
    alive = np.array([True, False, True, True])
    found = dictionary_agreement(small, big, alive)
    assert (found.n, found.n_matched) == ((3, 20), 3)
    assert found.partner.tolist() == [3, -1, 7, 11]
    assert found.max_cosine[0] == pytest.approx(1, abs=1e-6)
    assert found.max_cosine[1] < 0.9
    assert dictionary_agreement(big, small, None, alive).partner.tolist().count(-1) == 17


def test_two_random_dictionaries_agree_as_their_null_does():
    found = dictionary_agreement(rows(200), rows(200, seed=7))
    assert found.matched_cosine == pytest.approx(found.null.matched_cosine, abs=0.02)
    assert found.max_cosine[0] == pytest.approx(found.null.max_cosine[0], abs=0.02)


def test_dictionaries_too_large_to_match_and_those_without_a_feature_give_reasons():
    found = dictionary_agreement(rows(9), rows(30), max_matched=10)
    assert found.matched_cosine is found.matched_share is None
    assert found.max_cosine[0] is not None
    metrics = {metric.detail: metric for metric in found.metrics("seed 1")}
    assert metrics["seed 1"].reason == "30 features are more than max_matched = 10"
    assert metrics["seed 1 from the first"].reason is None
    nothing = dictionary_agreement(rows(9), torch.zeros(4, 16))
    assert {metric.reason for metric in nothing.metrics()} == {"a dictionary has no living feature"}
    assert len(nothing.partner) == 9


def test_recovery_is_one_for_the_planted_directions_whatever_sign_and_order_and_that_of_chance_for_others():
    true = rows(12)
    found = torch.cat([rows(5, seed=3), -2 * true.flip(0)])
    assert recovery(true, found).estimate.value == pytest.approx(1, abs=1e-6)
    expected = np.abs(cosine_similarity(true.numpy(), found.numpy()[:5])).max(1).mean()
    chance = recovery(true, found, np.arange(17) < 5)
    assert chance.estimate.value == pytest.approx(expected, abs=1e-6)
    assert chance.n == 12
    assert recovery(true, torch.zeros(3, 16)).reason == "no feature is alive"
    assert recovery(true[:0], found).reason == "no direction is planted"


def test_shapes_that_do_not_fit_and_nan_are_refused():
    with pytest.raises(InputError, match="widths 16 and 4"):
        dictionary_agreement(rows(5), rows(5, 4))
    with pytest.raises(InputError, match="alive of shape"):
        decoder_redundancy(rows(5), np.ones(4, dtype=bool))
    with pytest.raises(InputError, match="NaN or infinite"):
        recovery(rows(5), rows(5) * torch.nan)
