"""AUROCs equal scikit-learn's; intervals are those of leaving entities out."""

from dataclasses import astuple

import numpy as np
import pytest
from scipy.special import expit, logit
from scipy.stats import norm
from scipy.stats import t as student
from sklearn.metrics import roc_auc_score

from ato.errors import InputError
from ato.numerics.auroc import auroc, auroc_by_type, auroc_difference, auroc_interval
from benchmarks.coverage import coverage
from benchmarks.coverage_auroc import SHIFTS, SILENT_BELOW, limits, truth
from benchmarks.coverage_auroc import drawn as drawn_studies


def drawn(n: int = 300, shift: float = 0.8, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores with many ties at 0, and labels of which some belong to neither class."""
    rng = np.random.default_rng(seed)
    labels = rng.choice([1, 0, -1], p=[0.45, 0.45, 0.1], size=n)
    return np.maximum(rng.standard_normal(n) + shift * (labels == 1), 0), labels


def test_it_is_scikit_learns_with_ties_and_without_those_of_neither_class():
    scores, labels = drawn()
    both = labels >= 0
    assert auroc(scores, labels) == pytest.approx(roc_auc_score(labels[both], scores[both]), abs=1e-12)
    assert auroc(-scores, labels) == pytest.approx(1 - auroc(scores, labels), abs=1e-12)
    assert auroc(np.ones(300), labels) == 0.5


def test_missing_scores_are_left_out_and_an_empty_class_is_missing():
    scores, labels = drawn()
    gappy = np.append(scores, [np.nan, np.nan])
    assert auroc(gappy, np.append(labels, [1, 0])) == auroc(scores, labels)
    assert np.isnan(auroc(scores[labels == 1], labels[labels == 1]))
    assert np.isnan(auroc(np.zeros(0), np.zeros(0, dtype=int)))
    estimate = auroc_interval(scores[labels == 1], labels[labels == 1])
    assert (estimate.value, estimate.low, estimate.high) == (None, None, None)
    with pytest.raises(InputError, match="one label a score"):
        auroc(scores, labels[:-1])


def test_one_entity_in_a_class_gives_a_value_without_limits():
    estimate = auroc_interval(np.array([1.0, 0.0, 2.0]), np.array([1, 0, 0]))
    assert (estimate.value, estimate.low, estimate.high) == (0.5, None, None)


def test_the_interval_is_the_normal_one_of_delong_for_many_entities():
    scores, labels = drawn(2000)
    first, second = scores[labels == 1], scores[labels == 0]
    wins = (first[:, None] > second) + 0.5 * (first[:, None] == second)
    variance = wins.mean(1).var(ddof=1) / len(first) + wins.mean(0).var(ddof=1) / len(second)  # DeLong (1988)
    half = norm.ppf(0.975) * variance**0.5
    found = auroc_interval(scores, labels)
    assert found.value == pytest.approx(wins.mean())
    assert found.low == pytest.approx(wins.mean() - half, abs=0.15 * half)
    assert found.high == pytest.approx(wins.mean() + half, abs=0.15 * half)


@pytest.mark.parametrize("sizes", [(5, 5), (10, 100), (20, 20)])
@pytest.mark.parametrize("kind", SHIFTS)
def test_intervals_hold_the_truth_as_often_as_they_say_in_small_and_in_unequal_classes(kind, sizes):
    shift = SHIFTS[kind][0.7]
    scores, labels = drawn_studies(kind, shift, sizes, 300)
    held, _ = coverage(limits([auroc_interval(row, labels) for row in scores]), truth(shift, SILENT_BELOW[kind]))
    assert held >= 93


def test_the_order_of_entities_changes_nothing():
    scores, labels = drawn()
    types = np.random.default_rng(1).integers(2, size=300)
    expected = auroc_by_type(scores, labels, types, 2)
    order = np.random.default_rng(2).permutation(300)
    found = auroc_by_type(scores[order], labels[order], types[order], 2)
    for name in ("value", "low", "high"):
        np.testing.assert_allclose(getattr(found.by_type, name), getattr(expected.by_type, name), rtol=1e-12)
    assert astuple(found.mean) == pytest.approx(astuple(expected.mean), rel=1e-12)


def test_limits_are_those_of_leaving_out_one_entity_of_a_class_at_a_time_on_the_logit_scale():
    scores, labels = drawn(60)
    scores, labels = scores[labels >= 0], labels[labels >= 0]
    variance, freedom = 0.0, 0.0
    for label in (0, 1):
        own = np.flatnonzero(labels == label)
        areas = [roc_auc_score(np.delete(labels, i), np.delete(scores, i)) for i in own]
        part = (len(own) - 1) / len(own) * np.square(areas - np.mean(areas)).sum()
        variance, freedom = variance + part, freedom + part**2 / (len(own) - 1)
    value = roc_auc_score(labels, scores)
    reach = student.ppf(0.975, variance**2 / freedom) * np.sqrt(variance) / (value * (1 - value))
    found = auroc_interval(scores, labels)
    assert found.value == pytest.approx(value)
    assert (found.low, found.high) == pytest.approx(tuple(expit([logit(value) - reach, logit(value) + reach])))


def test_classes_that_do_not_overlap_have_an_interval_that_knows_how_many_entities_there_are():
    few, many = (auroc_interval(np.arange(2.0 * n), np.repeat([0, 1], n)) for n in (8, 80))
    assert (few.value, few.high) == (many.value, many.high) == (1.0, 1.0)
    assert few.low == pytest.approx(0.025 ** (1 / 8))  # Clopper and Pearson: 8 of 8
    assert few.low < many.low < 1
    assert auroc_interval(-np.arange(16.0), np.repeat([0, 1], 8)).high == pytest.approx(1 - few.low)


def test_within_types_a_difference_between_types_counts_for_nothing():
    rng = np.random.default_rng(0)
    types = rng.integers(2, size=2000)
    labels = (rng.random(2000) < np.where(types == 1, 0.9, 0.1)).astype(int)
    scores = types + 0.01 * rng.standard_normal(2000)
    assert auroc(scores, labels) > 0.85
    assert auroc_by_type(scores, labels, types, 2).mean.value == pytest.approx(0.5, abs=0.06)


def test_a_type_without_a_class_is_missing_and_leaves_the_mean_alone():
    scores, labels = drawn()
    types = np.zeros(300, dtype=int)
    types[labels == 1] = np.arange((labels == 1).sum()) % 2
    found = auroc_by_type(scores, labels, types, 2)
    assert np.isnan(found.by_type.value[1])
    assert found.n_second[1] == 0
    assert found.mean.value == pytest.approx(found.by_type.value[0])


def test_the_paired_interval_of_a_difference_is_narrower_than_unpaired_ones_and_holds_the_truth():
    scores, labels = drawn(1000)
    noisy = scores + 0.05 * np.random.default_rng(3).standard_normal(1000)
    found = auroc_difference(scores, noisy, labels)
    assert found.value == pytest.approx(auroc(scores, labels) - auroc(noisy, labels))
    single = auroc_interval(scores, labels)
    assert found.high - found.low < 0.6 * (single.high - single.low)
    same = auroc_difference(scores, 2 * scores + 1, labels, np.zeros(1000, dtype=int))
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_a_score_that_says_nothing_has_no_limits_and_one_misplaced_entity_has_narrow_ones():
    labels = np.repeat([0, 1], 50)
    silent = auroc_interval(np.zeros(100), labels)
    assert (silent.value, silent.low, silent.high) == (0.5, None, None)
    perfect = auroc_difference(np.arange(100.0), np.zeros(100), labels)
    assert (perfect.value, perfect.low, perfect.high) == (0.5, None, None)
    scores = np.arange(100.0)
    scores[[49, 54]] = scores[[54, 49]]
    found = auroc_interval(scores, labels)
    assert 0.95 < found.low < found.value < found.high < 1


def test_a_difference_is_taken_of_entities_that_have_both_scores():
    scores, labels = drawn()
    other = np.where(np.arange(300) < 150, np.nan, -scores)
    found = auroc_difference(scores, other, labels)
    assert found.value == pytest.approx(2 * auroc(scores[150:], labels[150:]) - 1)
