"""Paired changes: means with intervals by entity, and how often random interventions change as much."""

import numpy as np
import pytest

from ato.entities.paired import control_p, mean_change


def test_the_interval_of_a_mean_change_is_that_of_the_normal_law_for_many_entities():
    changes = np.random.default_rng(0).normal(0.3, 1.0, 2000)
    found = mean_change(changes)
    error = 1.96 * changes.std(ddof=1) / np.sqrt(len(changes))
    assert found.value == pytest.approx(changes.mean())
    assert found.low == pytest.approx(changes.mean() - error, abs=0.1 * error)
    assert found.high == pytest.approx(changes.mean() + error, abs=0.1 * error)


def test_the_order_of_entities_changes_nothing():
    changes = np.random.default_rng(1).normal(size=50)
    assert mean_change(changes) == mean_change(changes[::-1])


def test_without_entities_there_is_no_mean_and_with_one_no_interval():
    assert mean_change(np.array([])).value is None
    one = mean_change(np.array([0.5]))
    assert (one.value, one.low) == (0.5, None)


def test_p_counts_the_controls_that_change_as_much_in_either_sense():
    assert control_p(0.5, np.array([0.1, -0.6, 0.2, 0.5])) == pytest.approx((1 + 2) / 5)
    assert control_p(5.0, np.zeros(19)) == pytest.approx(0.05)
    assert np.isnan(control_p(0.5, np.array([])))


def test_p_is_uniform_where_the_intervention_is_one_more_random_one():
    rng = np.random.default_rng(2)
    p = [control_p(draws[0], draws[1:]) for draws in rng.normal(size=(2000, 20))]
    assert np.mean(np.array(p) <= 0.1) == pytest.approx(0.1, abs=0.02)
