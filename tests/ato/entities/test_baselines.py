"""Baselines are oriented on train and measured on test; the probe sees train alone."""

from dataclasses import replace

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from ato.entities.baselines import confounded, linear_probe, oriented_auroc, score_baseline
from ato.errors import InputError, NonFiniteError
from tests.ato.entities.planted_entities import make_groups, make_residuals


def test_the_direction_is_decided_on_train_and_may_fail_on_test():
    groups = make_groups()
    values = np.where(groups.split == 0, -1.0, 1.0) * groups.label + 0.1 * np.random.default_rng(0).random(groups.n)
    found = score_baseline("n_tokens", values, groups)
    assert found.orientation == -1
    assert found.auroc.mean.value == 0


def test_missing_values_are_left_out_and_counted():
    groups = make_groups()
    values = groups.label + np.random.default_rng(0).standard_normal(groups.n)
    values[groups.entity_type == 1] = np.nan
    found = score_baseline("popularity", values, groups)
    assert np.isnan(found.auroc.by_type.value[1])
    assert found.auroc.mean.value > 0.6
    assert found.n_missing == (groups.members("test") & (groups.entity_type == 1)).sum()
    nothing = score_baseline("popularity", np.full(groups.n, np.nan), groups)
    assert (nothing.orientation, nothing.auroc.mean.value) == (0, None)
    with pytest.raises(InputError, match="n_tokens"):
        score_baseline("n_tokens", values[:3], groups)


def test_the_limit_is_exceeded_and_not_met():
    assert [confounded(value) for value in (0.6, 0.61, None)] == [False, True, False]


def test_the_probe_is_scikit_learns_on_standardised_train_residuals():
    groups = make_groups()
    x = make_residuals(groups).numpy()
    probe = linear_probe(x, groups)
    train = groups.members("train")
    peer = make_pipeline(StandardScaler(), LogisticRegression(C=probe.c, max_iter=1000))
    peer.fit(x[train].astype(np.float64), groups.label[train])
    held_out = groups.split > 0
    np.testing.assert_allclose(probe.scores[held_out], peer.decision_function(x[held_out]), atol=5e-3)
    assert np.isnan(probe.scores[~held_out]).all()


def test_held_out_entities_and_the_order_of_all_change_no_probe():
    groups = make_groups()
    x = make_residuals(groups).numpy()
    expected = linear_probe(x, groups)
    order = np.random.default_rng(1).permutation(groups.n)
    shuffled = replace(groups, **{n: getattr(groups, n)[order] for n in ("entity_type", "label", "split", "key")})
    np.testing.assert_array_equal(linear_probe(x[order], shuffled).scores, expected.scores[order])
    other = x.copy()
    other[groups.split == 2] *= 100
    changed = linear_probe(other, groups)
    assert changed.c == expected.c
    np.testing.assert_array_equal(changed.scores[groups.split == 1], expected.scores[groups.split == 1])


def test_a_column_that_does_not_vary_says_nothing():
    groups = make_groups()
    x = make_residuals(groups).numpy()
    constant = np.concatenate([x, np.full((groups.n, 1), 4.2, dtype=np.float32)], axis=1)
    constant[groups.split == 2, -1] = 1e6
    np.testing.assert_allclose(linear_probe(constant, groups).scores, linear_probe(x, groups).scores, atol=1e-6)


def test_without_two_of_a_class_there_is_no_probe_and_it_says_why():
    groups = make_groups()
    one = groups.only(~((groups.label == 1) & (groups.split == 0)))
    probe = linear_probe(make_residuals(groups).numpy(), one)
    assert np.isnan(probe.scores).all()
    assert probe.c is None
    assert oriented_auroc(probe.scores, one, "test", 1).mean.value is None
    assert probe.reason == "fewer than two known or unknown entities in train"


def test_residuals_of_others_and_not_finite_ones_are_refused():
    groups = make_groups()
    x = make_residuals(groups).numpy()
    with pytest.raises(InputError, match="residuals of shape"):
        linear_probe(x[:5], groups)
    x[3, 3] = np.nan
    with pytest.raises(NonFiniteError):
        linear_probe(x, groups)
