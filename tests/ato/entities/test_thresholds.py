"""Thresholds are the best there are and are applied as they were chosen; calibration equals scikit-learn's."""

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import brier_score_loss, f1_score, precision_score, recall_score

from ato.entities.thresholds import brier, choose_threshold, decide, expected_calibration_error, fit_calibration


def drawn(seed: int = 0, n: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    labels = rng.integers(2, size=n)
    return np.maximum(rng.standard_normal(n) + labels, 0), labels


@pytest.mark.parametrize("by", ["youden", "f1"])
def test_no_threshold_is_better_on_the_same_entities_than_the_chosen_one(by):
    scores, labels = drawn()
    threshold = choose_threshold(scores, labels, by)
    assert threshold in scores

    def quality(at: float) -> float:
        found = decide(scores, labels, at)
        return found.youden if by == "youden" else found.f1.value

    assert quality(threshold) == pytest.approx(max(quality(at) for at in scores))


def test_scores_that_are_mostly_zero_keep_their_f1_when_the_threshold_is_applied():
    """The study searched with >= and applied with >, which lost every entity at the threshold."""
    scores, labels = np.array([0.0] * 50 + [1.0] * 40 + [2.0] * 2), np.array([0] * 48 + [1] * 44)
    threshold = choose_threshold(scores, labels, "f1")
    assert threshold == 1
    assert decide(scores, labels, threshold).f1.value == pytest.approx(f1_score(labels, scores >= 1))


def test_of_equally_good_thresholds_the_largest_is_taken():
    assert choose_threshold(np.array([1.0, 2.0, 3.0, 4.0]), np.array([0, 1, 0, 1])) == 4


def test_decisions_are_scikit_learns():
    scores, labels = drawn()
    found, taken = decide(scores, labels, 0.5), scores >= 0.5
    assert found.precision == pytest.approx(precision_score(labels, taken))
    assert found.recall == pytest.approx(recall_score(labels, taken))
    assert found.specificity == pytest.approx(recall_score(1 - labels, ~taken))
    assert found.f1.value == pytest.approx(f1_score(labels, taken))
    assert found.f1.low < found.f1.value < found.f1.high


def test_an_empty_class_has_no_threshold_and_no_decision():
    assert np.isnan(choose_threshold(np.ones(3), np.ones(3, dtype=int)))
    found = decide(np.ones(3), np.ones(3, dtype=int), float("nan"))
    assert (found.recall, found.f1.value) == (None, None)
    assert decide(np.zeros(2), np.array([0, 1]), 1.0).precision is None
    assert np.isnan(fit_calibration(np.ones(3), np.ones(3, dtype=int))(np.ones(2))).all()


def test_calibration_is_scikit_learns_logistic_regression():
    scores, labels = drawn()
    x = ((scores - scores.mean()) / scores.std())[:, None]
    peer = LogisticRegression(C=1000, tol=1e-10).fit(x, labels)
    p = fit_calibration(scores, labels)(scores)
    np.testing.assert_allclose(p, peer.predict_proba(x)[:, 1], atol=1e-5)
    assert brier(p, labels) == pytest.approx(brier_score_loss(labels, p))


def test_separated_classes_and_constant_scores_still_have_a_calibration():
    p = fit_calibration(np.array([0.0, 0, 5, 5]), np.array([0, 0, 1, 1]))(np.array([0.0, 5, np.nan]))
    assert p[0] < 0.01 < 0.99 < p[1]
    assert np.isnan(p[2])
    np.testing.assert_allclose(fit_calibration(np.ones(4), np.array([0, 1, 1, 1]))(np.ones(1)), 0.75, atol=1e-6)


def test_calibration_error_is_that_of_its_definition():
    p, labels = np.array([0.05, 0.05, 0.15, 1.0, 0.95]), np.array([0, 1, 0, 1, 1])
    expected = (2 * abs(0.05 - 0.5) + abs(0.15 - 0) + 2 * abs(0.975 - 1)) / 5
    assert expected_calibration_error(p, labels) == pytest.approx(expected)
    assert np.isnan(expected_calibration_error(np.zeros(0), np.zeros(0)))
    assert np.isnan(brier(np.zeros(0), np.zeros(0)))
