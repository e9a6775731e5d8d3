"""Scores of latents equal SciPy's on dense activations, in any order; permuted counts equal permuting in full."""

import numpy as np
import pytest
from scipy.stats import ttest_ind

from ato.entities.groups import EntityGroups
from ato.entities.latent_scores import EPSILON, LatentScores, best_latents
from ato.entities.nulls import Permutations
from ato.errors import InputError, MismatchError, SettingsError
from tests.ato.entities.planted_entities import D_SAE, make_groups, make_residuals, make_sae, triplets

PERMUTATIONS = Permutations(n=70, seed=3)


def dense_activations(groups: EntityGroups) -> np.ndarray:
    return make_sae().encode(make_residuals(groups)).numpy()


def accumulated(groups: EntityGroups, dense: np.ndarray, blocks: int = 1, seed: int | None = None) -> LatentScores:
    scores = LatentScores(dense.shape[1], groups, PERMUTATIONS)
    order = np.arange(groups.n) if seed is None else np.random.default_rng(seed).permutation(groups.n)
    for rows in np.array_split(order, blocks):
        scores.update(rows, triplets(dense[rows]))
    return scores


@pytest.mark.parametrize("split", ["train", "validation", "test"])
def test_scores_are_those_of_scipy_on_the_dense_activations(split):
    groups = make_groups()
    dense = dense_activations(groups)
    dense[:, 3] = 0  # never active
    dense[:, 4] = 2.5  # always, always equal
    scores = accumulated(groups, dense, blocks=5, seed=1)
    found, dense = scores.scores(split), dense.astype(np.float64)
    for number in range(3):
        inside = groups.members(split) & (groups.entity_type == number)
        first, second = dense[inside & (groups.label == 1)], dense[inside & (groups.label == 0)]
        assert (found.n_first[number], found.n_second[number]) == (len(first), len(second))
        f_first, f_second = (first > 0).mean(0), (second > 0).mean(0)
        np.testing.assert_allclose(found.f_first[number], f_first)
        np.testing.assert_allclose(found.f_second[number], f_second)
        np.testing.assert_allclose(found.separation[number], f_first - f_second, atol=1e-12)
        np.testing.assert_allclose(found.mean_difference[number], first.mean(0) - second.mean(0), atol=1e-12)
        relative = (f_first - f_second) / (np.minimum(f_first, f_second) + EPSILON)
        np.testing.assert_allclose(found.relative_difference[number], relative, atol=1e-6)
        varying = (np.ptp(first, axis=0) > 0) | (np.ptp(second, axis=0) > 0)
        expected = ttest_ind(first[:, varying], second[:, varying], equal_var=False).statistic
        np.testing.assert_allclose(found.welch_t[number, varying], expected, rtol=1e-7)
        assert np.isnan(found.welch_t[number, ~varying]).all()
    assert np.isnan(found.welch_t[:, [3, 4]]).all()
    np.testing.assert_array_equal(found.separation_min, found.separation.min(0))
    np.testing.assert_array_equal(found.separation_max, found.separation.max(0))
    np.testing.assert_allclose(found.separation_mean, found.separation.mean(0))


def test_blocks_their_order_and_merging_change_nothing():
    groups = make_groups()
    dense = dense_activations(groups)
    whole = accumulated(groups, dense)
    half = groups.n // 2
    parts = [LatentScores(D_SAE, groups, PERMUTATIONS) for _ in range(2)]
    parts[0].update(np.arange(half), triplets(dense[:half]))
    parts[1].update(np.arange(half, groups.n), triplets(dense[half:]))
    for other in (accumulated(groups, dense, blocks=groups.n, seed=4), parts[1] + parts[0]):
        for name, values in vars(whole.scores()).items():
            np.testing.assert_allclose(getattr(other.scores(), name), values, rtol=1e-12, atol=1e-12)
        for name, maxima in vars(whole.null_maxima()).items():
            np.testing.assert_array_equal(getattr(other.null_maxima(), name), maxima)


def test_the_order_of_entities_changes_no_permutation():
    groups = make_groups()
    dense = dense_activations(groups)
    order = np.random.default_rng(0).permutation(groups.n)
    columns = (getattr(groups, name)[order] for name in ("entity_type", "label", "split", "key"))
    shuffled = EntityGroups(*columns, groups.type_names)
    first, second = accumulated(groups, dense).null_maxima(), accumulated(shuffled, dense[order]).null_maxima()
    np.testing.assert_array_equal(first.over_types, second.over_types)
    np.testing.assert_array_equal(first.by_type, second.by_type)


def test_null_maxima_are_those_of_permuting_labels_and_scoring_again():
    groups = make_groups()
    dense = dense_activations(groups)
    maxima = accumulated(groups, dense, blocks=4, seed=2).null_maxima()
    labels = np.unpackbits(PERMUTATIONS.labels(groups), axis=1, count=70)
    train = groups.members("train")
    for permutation in (0, 63, 64, 69):
        permuted = EntityGroups(
            groups.entity_type,
            np.where(train, labels[:, permutation].astype(int), -1),
            groups.split,
            groups.key,
            groups.type_names,
        )
        np.testing.assert_array_equal(permuted.counts[0], groups.counts[0])
        found = LatentScores(D_SAE, permuted).update(np.arange(groups.n), triplets(dense)).scores()
        assert maxima.over_types[permutation] == pytest.approx(found.strength.max(), abs=1e-12)
        np.testing.assert_allclose(maxima.by_type[:, permutation], np.abs(found.separation).max(1), atol=1e-12)


def test_a_type_without_one_class_is_missing_and_said_and_the_others_count():
    groups = make_groups()
    groups = groups.only(~((groups.entity_type == 1) & (groups.label == 0)))
    scores = accumulated(groups, dense_activations(groups))
    found = scores.scores()
    assert np.isnan(found.separation[1]).all()
    assert np.isfinite(found.f_first[1]).all()
    assert np.isnan(found.f_second[1]).all()
    np.testing.assert_array_equal(found.separation_min, found.separation[[0, 2]].min(0))
    assert np.isnan(scores.null_maxima().by_type[1]).all()
    assert np.isfinite(scores.null_maxima().over_types).all()
    assert "type type1 has no unknown entity: its scores are missing" in groups.gaps()


def test_without_any_class_everything_is_missing():
    groups = make_groups().only(np.zeros(600, dtype=bool))
    scores = accumulated(groups, dense_activations(groups))
    found = scores.scores()
    assert np.isnan(found.strength).all()
    assert not found.direction.any()
    assert np.isnan(scores.fisher_p().over_types).all()
    assert np.isnan(scores.null_maxima().over_types).all()
    assert np.isnan(scores.firing_rate()).all()
    assert len(best_latents(found.strength)) == 0


def test_an_entity_that_comes_twice_is_refused():
    groups = make_groups()
    dense = dense_activations(groups)
    scores = accumulated(groups, dense)
    with pytest.raises(InputError, match="came twice"):
        scores.update(np.array([5]), triplets(dense[[5]]))
    with pytest.raises(InputError, match="came twice"):
        LatentScores(D_SAE, groups).update(np.array([5, 5]), triplets(dense[[5, 5]]))
    with pytest.raises(InputError, match="came twice"):
        scores + scores


def test_wrong_rows_latents_splits_and_missing_entities_are_refused():
    groups = make_groups()
    dense = dense_activations(groups)
    with pytest.raises(InputError, match="rows must be"):
        LatentScores(D_SAE, groups).update(np.arange(3), triplets(dense[:4]))
    with pytest.raises(InputError, match="rows must be from 0"):
        LatentScores(D_SAE, groups).update(np.array([groups.n]), triplets(dense[:1]))
    with pytest.raises(MismatchError, match="latent"):
        LatentScores(3, groups).update(np.arange(groups.n), triplets(dense))
    scores = LatentScores(D_SAE, groups, PERMUTATIONS).update(np.arange(9), triplets(dense[:9]))
    with pytest.raises(InputError, match="not been seen"):
        scores.null_maxima()
    with pytest.raises(SettingsError, match="no permutations"):
        LatentScores(D_SAE, groups).null_maxima()
    with pytest.raises(SettingsError, match="unknown split"):
        scores.scores("dev")


def test_best_latents_are_ordered_and_leave_out_what_is_missing_or_not_allowed():
    strength = np.array([0.2, np.nan, 0.9, 0.2, 0.7])
    assert best_latents(strength).tolist() == [2, 4, 0, 3]
    assert best_latents(strength, np.array([True, True, False, True, True]), 2).tolist() == [4, 0]


def test_groups_are_made_of_words_and_refuse_what_they_do_not_know():
    words = ["known", "between", "unknown"]
    groups = EntityGroups.of(["0a", "ff", "01"], ["city", "film", "city"], words, ["train", "test", "train"])
    assert groups.type_names == ("city", "film")
    assert groups.label.tolist() == [1, -1, 0]
    assert groups.counts[0].tolist() == [[1, 0], [1, 0]]
    with pytest.raises(InputError, match="same key"):
        EntityGroups.of(["0a", "0a"], ["city"] * 2, words[:2], ["train"] * 2)
    with pytest.raises(InputError, match="unknown split"):
        EntityGroups.of(["0a"], ["city"], ["known"], ["dev"])
    with pytest.raises(InputError, match="hexadecimal"):
        EntityGroups.of(["Paris"], ["city"], ["known"], ["train"])


def test_no_entity_and_no_active_latent_are_no_failure():
    groups = make_groups()
    nothing = triplets(np.zeros((groups.n, D_SAE), dtype=np.float32))
    scores = LatentScores(D_SAE, groups, PERMUTATIONS)
    scores.update(np.zeros(0, dtype=int), triplets(np.zeros((0, D_SAE))))
    assert not scores.n_entities("train").any()
    assert np.isnan(scores.scores().strength).all()
    scores.update(np.arange(groups.n), nothing)
    assert not scores.scores().strength.any()
    assert np.isnan(scores.fisher_p().over_types).all()
    assert not scores.null_maxima().over_types.any()


def test_entities_of_neither_class_count_for_nothing():
    groups = make_groups()
    dense = dense_activations(groups)
    left_out = groups.label == -1
    other = dense.copy()
    other[left_out] = 9
    first, second = accumulated(groups, dense), accumulated(groups, other)
    np.testing.assert_array_equal(first.scores().separation, second.scores().separation)
    np.testing.assert_array_equal(first.firing_rate(), second.firing_rate())
    assert first.n_entities("train").sum() == groups.members("train").sum()


def test_perfect_separations_are_one_whatever_the_sizes_of_the_classes():
    for n_first, n_second in ((23, 20), (49, 3), (7, 6), (100, 49)):
        n = n_first + n_second
        labels = ["known"] * n_first + ["unknown"] * n_second
        groups = EntityGroups.of([f"{i:016x}" for i in range(n)], ["city"] * n, labels, ["train"] * n)
        dense = np.zeros((n, 2), dtype=np.float32)
        dense[:n_first, 0] = dense[n_first:, 1] = 1
        scores = LatentScores(2, groups, PERMUTATIONS).update(np.arange(n), triplets(dense))
        np.testing.assert_allclose(scores.scores().separation[0], [1, -1], atol=1e-12)
        assert np.abs(scores.scores().separation).max() <= 1
        assert scores.null_maxima().by_type.max() <= 1
