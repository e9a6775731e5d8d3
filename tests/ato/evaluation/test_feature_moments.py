"""Scores of features over all tokens, from moments alone, against the projections of the tokens."""

import numpy as np
import torch
from sklearn.metrics import r2_score

from ato.evaluation.feature_moments import feature_ceiling, feature_scores_from_moments, least_squares_map
from ato.moments import Moments
from ato.residuals import MemorySource, run_pass
from tests.ato.evaluation.test_feature_transport import SOURCE, TARGET, operator, planted, rows_of


def test_r2_over_all_tokens_from_moments_equals_the_projections():
    source, sae, _ = planted(n=2000)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(source, [moments])
    rng = np.random.default_rng(0)
    other = operator(rng.normal(size=(16, 16)) / 4, rng.normal(size=16))
    directions = sae.decoder_directions.double().numpy()
    x, y = rows_of(source, "test")
    expected = r2_score(y @ directions.T, other(x) @ directions.T, multioutput="raw_values")
    found = feature_scores_from_moments(other, moments, SOURCE, TARGET, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-5)


def test_the_feature_ceiling_is_the_held_out_squared_correlation_of_least_squares():
    source, sae, carried = planted(n=2000)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(source, [moments])
    directions = sae.decoder_directions.double().numpy()
    train, test = rows_of(source, "train"), rows_of(source, "test")
    fit = np.linalg.lstsq(np.c_[train[0], np.ones(len(train[0]))], train[1] @ directions.T, rcond=None)[0]
    predicted = np.c_[test[0], np.ones(len(test[0]))] @ fit
    expected = [max(np.corrcoef(p, a)[0, 1], 0) ** 2 for p, a in zip(predicted.T, (test[1] @ directions.T).T)]
    found = feature_ceiling(moments, SOURCE, TARGET, directions)
    np.testing.assert_allclose(found, expected, rtol=1e-3, atol=1e-5)
    assert found[carried].min() > 0.9
    assert np.isnan(feature_ceiling(moments, SOURCE, TARGET, np.zeros((1, 16)))).all()


def test_the_least_squares_map_predicts_as_least_squares_on_rows():
    source, _, _ = planted(n=2000)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(source, [moments])
    x, y = rows_of(source, "train")
    fit = np.linalg.lstsq(np.c_[x, np.ones(len(x))], y, rcond=None)[0]
    test = rows_of(source, "test")[0].astype(np.float64)
    found = least_squares_map(moments, SOURCE, TARGET)(test)
    np.testing.assert_allclose(found, np.c_[test, np.ones(len(test))] @ fit, rtol=1e-4, atol=1e-4)


def test_the_feature_ceiling_of_independent_layers_is_near_zero():
    rng = np.random.default_rng(3)
    d, n = 40, 400
    residuals = {layer: torch.tensor(rng.normal(size=(n, d)), dtype=torch.float32) for layer in (SOURCE, TARGET)}
    group = np.where(np.arange(n) % 2, 6, np.arange(n) // 2 % 5).astype(np.int16)
    moments = Moments([(SOURCE, TARGET)], n_folds=5)
    run_pass(MemorySource(residuals, group=group), [moments])
    ceiling = feature_ceiling(moments, SOURCE, TARGET, np.eye(d))
    assert ceiling.mean() < 0.01  # in-sample it would be d / n_train = 0.2
