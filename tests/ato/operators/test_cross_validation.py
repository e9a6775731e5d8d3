"""Cross-validation from moments against scikit-learn's GridSearchCV on the same folds."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold, PredefinedSplit

from ato.operators.cross_validation import contiguous_folds, document_folds
from ato.operators.fitting import fit_operator
from tests.planted_pairs import correlated

STRENGTHS = [0.1, 1.0, 10.0, 100.0, 1000.0, 10000.0]


def grid_search(x, y, cv, strengths=STRENGTHS, **settings):
    return GridSearchCV(Ridge(), {"alpha": strengths}, cv=cv, scoring="r2", **settings).fit(x, y)


def split_scores(search) -> np.ndarray:
    folds = range(search.n_splits_)
    return np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in folds], axis=1)


def assert_equals_search(fit, search, tolerance=1e-10) -> None:
    assert np.abs(fit.cv_scores - split_scores(search)).max() < tolerance
    assert fit.alpha == search.best_params_["alpha"]
    assert abs(fit.r2_cv - search.best_score_) < tolerance
    best = search.best_estimator_
    assert np.abs(fit.operator.matrix - best.coef_).max() < 1e-8
    assert np.abs(fit.operator.bias - best.intercept_).max() < 1e-6


SHAPES = {
    "more rows than dimensions": (203, 12, 9),
    "wider target": (150, 5, 20),
    "one source dimension": (64, 1, 4),
    "one target dimension": (64, 6, 1),
    "fewer rows than dimensions": (23, 40, 30),
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("noise", [0.1, 10.0])
def test_cross_validation_equals_scikit_learn_with_the_same_choice(shape, noise):
    x, y = correlated(*shape, noise=noise)
    fit = fit_operator(x, y, alphas=STRENGTHS, cv_folds=5)
    assert_equals_search(fit, grid_search(x, y, KFold(5)))


@pytest.mark.parametrize("cv_folds", [2, 3, 10])
def test_any_number_of_folds_equals_scikit_learn(cv_folds):
    x, y = correlated(101, 8, 6)
    assert_equals_search(fit_operator(x, y, alphas=STRENGTHS, cv_folds=cv_folds), grid_search(x, y, KFold(cv_folds)))


def test_float32_and_torch_rows_give_the_same_fit():
    x, y = (rows.astype(np.float32) for rows in correlated(300, 12, 9))
    expected = grid_search(x.astype(np.float64), y.astype(np.float64), KFold(5))
    assert_equals_search(fit_operator(x, y, alphas=STRENGTHS), expected)
    assert_equals_search(fit_operator(torch.from_numpy(x), torch.from_numpy(y), alphas=STRENGTHS), expected)


def test_float32_products_of_wide_rows_keep_scores_within_1e_6_of_scikit_learn(monkeypatch):
    monkeypatch.setattr("ato.operators.fitting.DOUBLE_WORK", 0)
    x, y = correlated(3000, 264, 10, noise=3.0)
    x = (x + 5 * np.random.default_rng(1).standard_normal(x.shape)).astype(np.float32)
    y = y.astype(np.float32)
    search = grid_search(x.astype(np.float64), y.astype(np.float64), KFold(3), STRENGTHS[1::2])
    fit = fit_operator(x, y, alphas=STRENGTHS[1::2], cv_folds=3)
    assert np.abs(fit.cv_scores - split_scores(search)).max() < 1e-6
    assert fit.alpha == search.best_params_["alpha"]


def test_given_folds_are_used_whatever_their_names():
    x, y = correlated(90, 6, 4)
    folds = np.random.default_rng(0).integers(0, 4, len(x))
    fit = fit_operator(x, y, alphas=STRENGTHS, folds=folds * 10 - 7)
    assert_equals_search(fit, grid_search(x, y, PredefinedSplit(folds)))


def test_document_folds_equal_group_k_fold_and_split_no_document():
    x, y = correlated(200, 6, 4)
    documents = np.sort(np.random.default_rng(0).integers(0, 17, len(x))) * 3
    fit = fit_operator(x, y, alphas=STRENGTHS, documents=documents, cv_folds=4)
    search = grid_search(x, y, list(GroupKFold(4).split(x, y, documents)))
    assert_equals_search(fit, search)
    named = np.array([f"doc-{number:03d}" for number in documents])
    codes = document_folds(named, 4)
    assert all(len(set(codes[named == name])) == 1 for name in set(named))
    assert set(codes) == {0, 1, 2, 3}


def test_document_folds_do_not_depend_on_the_order_of_rows():
    documents = np.random.default_rng(0).integers(0, 11, 300)
    order = np.random.default_rng(1).permutation(300)
    assert np.array_equal(document_folds(documents, 3)[order], document_folds(documents[order], 3))


def test_constant_target_columns_score_as_in_scikit_learn():
    x, y = correlated(100, 6, 4)
    y[:, 1] = 5.0  # constant everywhere: predicted exactly, scores 1
    y[20:40, 2] = 2.0  # constant on the second fold only: scores 0 there
    fit = fit_operator(x, y, alphas=STRENGTHS)
    assert_equals_search(fit, grid_search(x, y, KFold(5)))
    flat = fit_operator(x, np.full((100, 2), -1.0), alphas=STRENGTHS)
    assert (flat.cv_scores == 1).all()
    assert np.allclose(flat.operator(x), -1)


def test_noisier_targets_choose_a_larger_strength():
    chosen = [fit_operator(*correlated(80, 20, 10, noise=noise)).alpha for noise in (0.01, 1.0, 30.0)]
    assert chosen == sorted(chosen)
    assert chosen[0] < chosen[-1]


def test_ridge_to_identity_is_scored_on_y_as_its_predictions_are():
    x, _ = correlated(100, 6, 6)
    y = x + correlated(100, 6, 6, seed=1)[1]
    fit = fit_operator(x, y, "ridge_to_identity", alphas=[1.0, 100.0], cv_folds=4)
    for column, (train, test) in enumerate(KFold(4).split(x)):
        for row, alpha in enumerate((1.0, 100.0)):
            held_out = x[test] + Ridge(alpha=alpha).fit(x[train], y[train] - x[train]).predict(x[test])
            sst = ((y[test] - y[test].mean(0)) ** 2).sum(0)
            expected = np.mean(1 - ((y[test] - held_out) ** 2).sum(0) / sst)
            assert abs(fit.cv_scores[row, column] - expected) < 1e-10


def test_a_strength_chosen_at_the_edge_of_the_grid_is_flagged():
    x, y = correlated(80, 20, 10)
    inside = fit_operator(x, y).alpha
    assert not fit_operator(x, y).alpha_at_edge
    assert fit_operator(x, y, alphas=[inside * 100, inside * 10, inside]).alpha_at_edge
    assert fit_operator(x, y, alphas=[inside, inside / 100]).alpha_at_edge
    assert not fit_operator(x, y, alphas=[inside * 10, inside, inside / 10]).alpha_at_edge
    assert not fit_operator(x, y, alphas=[inside]).alpha_at_edge


def test_contiguous_folds_are_those_of_k_fold():
    for n, n_folds in ((10, 5), (11, 5), (14, 5), (7, 7), (100, 3)):
        expected = np.empty(n, dtype=int)
        for fold, (_, test) in enumerate(KFold(n_folds).split(np.zeros(n))):
            expected[test] = fold
        assert np.array_equal(contiguous_folds(n, n_folds), expected)


def test_constant_and_duplicate_source_columns_score_as_in_scikit_learn():
    x, y = correlated(120, 7, 5)
    wide = np.hstack([x, x[:, :2], np.full((120, 1), 3.25)])
    assert_equals_search(fit_operator(wide, y, alphas=STRENGTHS), grid_search(wide, y, KFold(5)))
