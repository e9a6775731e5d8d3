"""Which tokens stay out, and under which reason they are counted."""

import numpy as np

from ato.residuals.exclusion import ExclusionPolicy

IDS = np.array([1, 7, 2, 8, 9, 7])
POSITIONS = np.array([0, 1, 2, 3, 0, 1])


def test_each_dropped_token_is_counted_once_under_its_first_reason():
    keep, dropped = ExclusionPolicy().keep_tokens(IDS, POSITIONS, {1, 2})
    assert keep.tolist() == [False, True, False, True, False, True]
    assert dropped == {"special_token": 2, "first_position": 1}


def test_each_rule_can_be_switched_off():
    keep, dropped = ExclusionPolicy(skip_special=False).keep_tokens(IDS, POSITIONS, {1, 2})
    assert keep.tolist() == [False, True, True, True, False, True]
    assert dropped == {"first_position": 2}
    keep, dropped = ExclusionPolicy(skip_first=False).keep_tokens(IDS, POSITIONS, {1, 2})
    assert keep.tolist() == [False, True, False, True, True, True]
    keep, dropped = ExclusionPolicy(skip_special=False, skip_first=False).keep_tokens(IDS, POSITIONS, {1, 2})
    assert keep.all()
    assert not dropped


def test_a_norm_above_the_limit_at_any_layer_marks_the_token():
    norms = {3: np.array([1.0, 21.0, 1.0, 20.0]), 5: np.array([1.0, 1.0, 31.0, 30.0])}
    medians = {3: 2.0, 5: 3.0}
    assert ExclusionPolicy().norm_outliers(norms, medians).tolist() == [False, True, True, False]
    assert not ExclusionPolicy(max_norm_multiple=None).norm_outliers(norms, medians).any()
    assert ExclusionPolicy(max_norm_multiple=5).norm_outliers(norms, medians).tolist() == [False, True, True, True]


def test_nan_and_infinite_norms_are_left_for_the_check_that_reports_them():
    norms = {0: np.array([np.nan, np.inf, 1.0])}
    assert not ExclusionPolicy().norm_outliers(norms, {0: 1.0}).any()
