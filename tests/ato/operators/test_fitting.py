"""Fits against scikit-learn and planted truths, from rows and from moments."""

from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.linear_model import LinearRegression, Ridge

from ato.errors import DataError, InputError, LayerError, NonFiniteError, SettingsError
from ato.moments import Moments
from ato.operators.fitting import fit_operator, fit_operator_from_moments
from ato.operators.methods import ALPHAS, METHODS
from tests.planted_pairs import correlated


def test_constant_and_duplicate_source_columns_change_nothing():
    x, y = correlated(120, 7, 5)
    plain = fit_operator(x, y, "linear")
    padded = fit_operator(np.hstack([x, np.full((120, 1), 3.25)]), y, "linear")
    doubled = fit_operator(np.hstack([x, x]), y, "linear")
    assert plain.kept_rank == padded.kept_rank == doubled.kept_rank == 7
    assert np.allclose(padded.operator(np.hstack([x, np.ones((120, 1))])), plain.operator(x), atol=1e-8)
    assert np.allclose(doubled.operator(np.hstack([x, x])), plain.operator(x), atol=1e-8)


def test_duplicate_columns_in_float32_do_not_blow_up(monkeypatch):
    monkeypatch.setattr("ato.operators.fitting.DOUBLE_WORK", 0)
    monkeypatch.setattr("ato.operators.fitting.FEW_ROWS", 0)
    x, y = (rows.astype(np.float32) for rows in correlated(400, 260, 5, noise=5.0))
    fit = fit_operator(np.hstack([x, x[:, :8]]), y, alphas=[1e-6, 1e-2])
    assert fit.kept_rank == 260
    assert np.abs(fit.operator.matrix).max() < 10


def test_linear_equals_least_squares_without_penalty():
    x, y = correlated(150, 8, 5)
    fit, expected = fit_operator(x, y, "linear"), LinearRegression().fit(x, y)
    assert np.abs(fit.operator.matrix - expected.coef_).max() < 1e-9
    assert np.abs(fit.operator.bias - expected.intercept_).max() < 1e-8
    assert fit.alpha == 0
    assert not fit.alpha_at_edge


def test_a_planted_map_is_recovered_with_its_rank_and_its_r2():
    rng = np.random.default_rng(0)
    truth = rng.standard_normal((12, 3)) @ rng.standard_normal((3, 10))
    x = rng.standard_normal((60_000, 10))
    signal = x @ truth.T
    noise = signal.std(axis=0)  # half of each dimension's variance is noise
    y = signal + noise * rng.standard_normal(signal.shape) + 4
    ridge_fit, low = fit_operator(x, y), fit_operator(x, y, "rrr", rank=3)
    assert abs(ridge_fit.r2_cv - 0.5) < 0.01
    assert np.linalg.norm(ridge_fit.operator.matrix - truth) < 0.03 * np.linalg.norm(truth)
    assert np.linalg.matrix_rank(low.operator.matrix) == low.operator.rank == 3
    error = [np.linalg.norm(fit.operator.matrix - truth) for fit in (low, ridge_fit)]
    assert error[0] < 0.7 * error[1]  # the rank is true: less noise is fitted
    exact = fit_operator(x[:200], signal[:200], "linear")
    assert np.allclose(exact.operator.matrix, truth, atol=1e-10)
    assert exact.r2_cv > 1 - 1e-12


def test_a_layer_predicts_itself():
    x, _ = correlated(200, 9, 3)
    fit = fit_operator(x, x, "linear")
    assert fit.r2_cv > 1 - 1e-10
    assert np.allclose(fit.operator.matrix, np.eye(9), atol=1e-8)


@pytest.mark.parametrize("output_weight", ["whitened", "raw", "features"])
def test_reduced_rank_at_full_rank_equals_ridge(output_weight):
    x, y = correlated(150, 9, 7)
    decoder = np.random.default_rng(0).standard_normal((20, 7))
    full = fit_operator(x, y, "rrr", rank=7, output_weight=output_weight, decoder=decoder)
    plain = fit_operator(x, y)
    assert full.alpha == plain.alpha
    assert np.abs(full.operator.matrix - plain.operator.matrix).max() < 1e-10
    assert np.abs(full.operator.bias - plain.operator.bias).max() < 1e-8
    assert (full.operator.output_weight, plain.operator.output_weight) == (output_weight, None)


def test_svd_is_ridge_truncated_with_its_bias_refitted():
    x, y = correlated(150, 9, 7)
    low, plain = fit_operator(x, y, "svd", rank=3), fit_operator(x, y)
    assert np.array_equal(low.operator.matrix, plain.operator.truncated(3).matrix)
    assert np.allclose(low.operator(x).mean(0), y.mean(0))
    assert (low.operator.method, low.operator.rank, low.cv_scores.shape) == ("svd", 3, (len(ALPHAS), 5))


def test_ridge_to_identity_is_ridge_on_the_update_and_shrinks_to_the_identity():
    x, _ = correlated(150, 9, 9)
    y = x + correlated(150, 9, 9, seed=1)[1]
    fit = fit_operator(x, y, "ridge_to_identity", alphas=[10.0])
    expected = Ridge(alpha=10.0).fit(x, y - x)
    assert np.allclose(fit.operator.matrix, expected.coef_ + np.eye(9), atol=1e-9)
    assert np.allclose(fit.operator(x), expected.predict(x) + x)
    shrunk = fit_operator(x, y, "ridge_to_identity", alphas=[1e12])
    assert np.allclose(shrunk.operator.matrix, np.eye(9), atol=1e-6)


def test_rotating_the_source_leaves_ridge_predictions_unchanged_and_scaling_does_not():
    x, y = correlated(120, 8, 5, noise=3.0)
    rotation = np.linalg.qr(np.random.default_rng(0).standard_normal((8, 8)))[0]
    plain = fit_operator(x, y, alphas=[50.0]).operator(x)
    assert np.allclose(fit_operator(x @ rotation, y, alphas=[50.0]).operator(x @ rotation), plain, atol=1e-9)
    scale = np.linspace(0.1, 5, 8)
    assert not np.allclose(fit_operator(x * scale, y, alphas=[50.0]).operator(x * scale), plain, atol=1e-3)


def test_the_baselines_are_what_they_say():
    x, y = correlated(60, 4, 4)
    assert np.array_equal(fit_operator(x, y, "identity").operator(x), x)
    assert np.allclose(fit_operator(x, y, "mean").operator(x), y.mean(0))
    assert not fit_operator(x, y, "mean").operator.matrix.any()
    assert np.allclose(fit_operator(x, y, "identity+bias").operator(x), x - x.mean(0) + y.mean(0))
    for method in ("identity", "mean", "identity+bias"):
        fit = fit_operator(x, y, method)
        assert (fit.alpha, fit.cv_scores, fit.r2_cv, fit.kept_rank, fit.alpha_at_edge) == (
            None,
            None,
            None,
            None,
            False,
        )


# --- from moments ---


def two_targets(n=400, seed=0):
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, 8)) @ rng.standard_normal((8, 8)) + 3
    y = x @ rng.standard_normal((8, 8)) / 8 + rng.standard_normal((n, 8))
    z = y @ rng.standard_normal((8, 6)) + rng.standard_normal((n, 6))
    return {2: x, 3: y, 7: z}, rng.integers(0, 7, n)


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if method.fits_rows])
def test_a_fit_from_moments_equals_the_fit_from_train_rows(method):
    rows, group = two_targets()
    moments = Moments([(2, 3), (2, 7), (3, 7)]).update(rows, group)
    train = group < 5
    from_moments = fit_operator_from_moments(moments, 2, 3, method)
    from_rows = fit_operator(rows[2][train], rows[3][train], method, folds=group[train])
    assert np.allclose(from_moments.operator.matrix, from_rows.operator.matrix, atol=1e-10)
    assert np.allclose(from_moments.operator.bias, from_rows.operator.bias, atol=1e-9)
    assert (from_moments.alpha, from_moments.n_train) == (from_rows.alpha, train.sum())
    assert (from_moments.operator.source_layer, from_moments.operator.target_layer) == (2, 3)
    if from_rows.cv_scores is not None:
        assert np.allclose(from_moments.cv_scores, from_rows.cv_scores, atol=1e-12)


def test_held_out_groups_do_not_touch_the_fit():
    rows, group = two_targets()
    spoiled = {layer: np.where((group >= 5)[:, None], x * -50 + 9, x) for layer, x in rows.items()}
    fits = [fit_operator_from_moments(Moments([(2, 7)]).update(r, group), 2, 7) for r in (rows, spoiled)]
    assert np.allclose(fits[0].operator.matrix, fits[1].operator.matrix, atol=1e-9)
    assert np.allclose(fits[0].cv_scores, fits[1].cv_scores, atol=1e-12)


def test_targets_of_one_source_share_its_factorisations(monkeypatch):
    import ato.operators.cross_validation
    import ato.operators.fitting

    calls = []
    for module in (ato.operators.cross_validation,):
        original = module.decompose
        monkeypatch.setattr(module, "decompose", lambda *a, original=original: calls.append(1) or original(*a))
    rows, group = two_targets()
    moments = Moments([(2, 3), (2, 7)]).update(rows, group)
    fit_operator_from_moments(moments, 2, 3)
    assert len(calls) == 6
    before = fit_operator_from_moments(moments, 2, 7).operator.matrix
    assert len(calls) == 6
    moments.update({layer: x * 2 for layer, x in rows.items()}, group)
    assert not np.allclose(fit_operator_from_moments(moments, 2, 7).operator.matrix, before)
    assert len(calls) == 12


def test_merged_moments_give_the_same_fit_as_the_whole():
    rows, group = two_targets()
    whole = Moments([(2, 7)]).update(rows, group)
    halves = [
        Moments([(2, 7)]).update({k: v[part] for k, v in rows.items()}, group[part])
        for part in (slice(0, 170), slice(170, None))
    ]
    for merged in (halves[0] + halves[1], halves[1] + halves[0]):
        fit, expected = (fit_operator_from_moments(m, 2, 7, "rrr", rank=3) for m in (merged, whole))
        assert np.allclose(fit.operator.matrix, expected.operator.matrix, atol=1e-10)


def test_an_operator_is_bound_to_the_model_and_collection_it_was_fitted_on():
    rows, group = two_targets()
    moments = Moments([(2, 3)]).update(rows, group)
    identity = SimpleNamespace(model="tiny", revision="v2", weights_hash="abc")
    operator = fit_operator_from_moments(moments, 2, 3, identity=identity, collection="c-1").operator
    found = (operator.model, operator.revision, operator.weights_hash, operator.collection)
    assert found == ("tiny", "v2", "abc", "c-1")


# --- mistakes ---


def test_impossible_settings_are_refused():
    x, y = correlated(50, 6, 4)
    for settings, message in (
        ({"method": "rigde"}, "ridge_to_identity"),
        ({"method": "identity"}, "equal width"),
        ({"method": "ridge_to_identity"}, "equal width"),
        ({"rank": 3}, "rrr or svd"),
        ({"method": "svd", "rank": 5}, "1 to 4"),
        ({"method": "rrr", "rank": 0}, "1 to 4"),
        ({"method": "rrr", "output_weight": "white"}, "whitened"),
        ({"method": "rrr", "output_weight": "features"}, "decoder"),
        ({"alphas": []}, "alphas"),
        ({"alphas": [-1.0]}, "alphas"),
        ({"alphas": [float("nan")]}, "alphas"),
        ({"cv_folds": 51}, "cv_folds"),
        ({"cv_folds": 1}, "cv_folds"),
        ({"documents": np.zeros(50)}, "1 documents"),
        ({"documents": np.arange(50), "folds": np.arange(50)}, "one of them"),
    ):
        with pytest.raises(SettingsError, match=message):
            fit_operator(x, y, **settings)


def test_rows_that_do_not_fit_are_refused():
    x, y = correlated(50, 6, 4)
    for bad_x, bad_y in ((x[:40], y), (x[0], y[0]), (x[:, :, None], y)):
        with pytest.raises(InputError):
            fit_operator(bad_x, bad_y)
    with pytest.raises(DataError):
        fit_operator(x[:0], y[:0])
    with pytest.raises(InputError, match=r"\[50\]"):
        fit_operator(x, y, folds=np.zeros(49))
    spoiled = y.copy()
    spoiled[3, 3] = np.nan
    with pytest.raises(NonFiniteError):
        fit_operator(x, spoiled)


def test_moments_without_the_pair_or_without_train_rows_are_refused():
    rows, group = two_targets()
    moments = Moments([(2, 3)]).update(rows, group)
    with pytest.raises(LayerError):
        fit_operator_from_moments(moments, 3, 7)
    with pytest.raises(DataError, match="no rows"):
        fit_operator_from_moments(Moments([(2, 3)]).update(rows, np.full(400, 6)), 2, 3)
    one_fold = Moments([(2, 3)]).update(rows, fold=0)
    with pytest.raises(DataError, match="two train folds"):
        fit_operator_from_moments(one_fold, 2, 3)
    assert fit_operator_from_moments(one_fold, 2, 3, alphas=[1.0]).cv_scores is None


def test_few_rows_suffice_where_nothing_is_chosen():
    x, y = correlated(3, 4, 2)
    assert fit_operator(x, y, "linear").kept_rank == 2
    assert fit_operator(x[:1], y[:1], "mean").n_train == 1
