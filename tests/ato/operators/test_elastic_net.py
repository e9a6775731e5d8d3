"""Lasso and elastic net from moments against scikit-learn, on the awkward shapes too."""

import numpy as np
import pytest
from sklearn.linear_model import ElasticNet, Lasso
from sklearn.model_selection import GridSearchCV, GroupKFold, KFold

from ato.errors import DataError, SettingsError
from ato.moments import Moments
from ato.operators.elastic_net import GramProblem, cross_validated_elastic_net, elastic_net, elastic_net_path
from ato.operators.fitting import fit_operator, fit_operator_from_moments
from ato.operators.strengths import strengths_of

# The oracle is asked for more digits than its own gap can resolve.
pytestmark = pytest.mark.filterwarnings("ignore:Objective did not converge")

ALPHAS, RATIOS = [1.0, 0.1, 0.02], [0.2, 0.5, 1.0]
SHAPES = {
    "more rows than dimensions": (120, 9, 6),
    "wider target": (100, 4, 11),
    "fewer rows than dimensions": (15, 24, 5),
    "one source dimension": (40, 1, 3),
    "one target dimension": (60, 7, 1),
}


def correlated(n: int, d_in: int, d_out: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows with means far from zero and one dimension 1000x larger than the rest."""
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((n, d_in)) @ rng.standard_normal((d_in, d_in)) / d_in**0.5
    y = x @ rng.standard_normal((d_in, d_out)) + rng.standard_normal((n, d_out))
    x[:, 0] *= 1000
    return x + 20, y - 7


def problem_of(x: np.ndarray, y: np.ndarray) -> GramProblem:
    a, b = x - x.mean(0), y - y.mean(0)
    return GramProblem.of_source(len(x), a.T @ a).with_target(len(x), a.T @ b, (b**2).sum(0))


def sklearn_fit(x, y, alpha, l1_ratio):
    return ElasticNet(alpha=alpha, l1_ratio=l1_ratio, tol=1e-14, max_iter=200_000).fit(x, y)


def objective(x, y, weights, alpha, l1_ratio) -> np.ndarray:
    error = y - y.mean(0) - (x - x.mean(0)) @ weights
    penalty = l1_ratio * np.abs(weights).sum(0) + (1 - l1_ratio) / 2 * (weights**2).sum(0)
    return (error**2).mean(0) / 2 + alpha * penalty


@pytest.mark.parametrize("l1_ratio", RATIOS)
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_coefficients_of_every_output_equal_those_of_scikit_learn(shape, l1_ratio):
    x, y = correlated(*shape)
    for alpha, solution in elastic_net_path(problem_of(x, y), ALPHAS, l1_ratio, tolerance=1e-14):
        expected = sklearn_fit(x, y, alpha, l1_ratio).coef_.reshape(y.shape[1], -1).T
        np.testing.assert_allclose(solution.weights, expected, atol=1e-6)
        assert ((solution.weights != 0) == (np.abs(expected) > 1e-9)).all()


def test_constant_columns_get_no_weight_and_change_nothing():
    x, y = correlated(80, 6, 4)
    padded = np.insert(x, 2, 3.25, axis=1)
    plain, other = (elastic_net(problem_of(a, y), 0.05, 0.5, tolerance=1e-14).weights for a in (x, padded))
    assert not other[2].any()
    np.testing.assert_allclose(np.delete(other, 2, axis=0), plain, atol=1e-8)
    flat = elastic_net(problem_of(x, np.full((80, 2), 5.0)), 0.05)
    assert not flat.weights.any()
    assert not flat.gaps.any()


@pytest.mark.parametrize("l1_ratio", RATIOS)
def test_duplicate_columns_give_the_predictions_and_the_objective_of_scikit_learn(l1_ratio):
    x, y = correlated(90, 5, 3)
    x = np.hstack([x, x[:, 1:3]])  # the lasso does not say how twins share their weight
    weights = elastic_net(problem_of(x, y), 0.05, l1_ratio, tolerance=1e-14).weights
    expected = sklearn_fit(x, y, 0.05, l1_ratio)
    np.testing.assert_allclose(y.mean(0) + (x - x.mean(0)) @ weights, expected.predict(x), atol=1e-6)
    ours, theirs = (objective(x, y, w, 0.05, l1_ratio) for w in (weights, expected.coef_.T))
    assert (ours <= theirs * (1 + 1e-12)).all()


def test_the_gap_bounds_what_an_unfinished_solution_lacks():
    x, y = correlated(120, 9, 6)
    problem = problem_of(x, y)
    best = objective(x, y, elastic_net(problem, 0.02, 0.5, tolerance=1e-14).weights, 0.02, 0.5)
    for iterations in (1, 3, 10, 30):
        early = elastic_net(problem, 0.02, 0.5, tolerance=0, max_iterations=iterations)
        lacking = (objective(x, y, early.weights, 0.02, 0.5) - best) / y.var(0)
        assert early.iterations == iterations
        assert (lacking <= early.gaps + 1e-14).all()
        assert lacking.max() > 1e-12


def test_a_strong_penalty_leaves_nothing_and_needs_no_iteration():
    x, y = correlated(50, 6, 4)
    centred = (x - x.mean(0)).T @ (y - y.mean(0)) / 50
    largest = np.abs(centred).max()
    assert elastic_net(problem_of(x, y), largest * 1.001).iterations == 0
    assert elastic_net(problem_of(x, y), largest * 0.999, tolerance=1e-14).weights.any()


def test_a_warm_start_ends_where_a_cold_one_does_and_sooner():
    x, y = correlated(120, 9, 6)
    problem = problem_of(x, y)
    path = dict(elastic_net_path(problem, [0.05, 0.4, 0.1], 0.5, tolerance=1e-13))
    assert list(path) == [0.4, 0.1, 0.05]
    cold = elastic_net(problem, 0.05, 0.5, tolerance=1e-13)
    np.testing.assert_allclose(path[0.05].weights, cold.weights, atol=1e-6)
    again = elastic_net(problem, 0.05, 0.5, start=cold.weights, tolerance=1e-13)
    assert again.iterations == 0


# --- cross-validation ---


def grid_search(x, y, cv, alphas, ratios):
    grid = {"alpha": alphas, "l1_ratio": ratios}
    return GridSearchCV(ElasticNet(tol=1e-12, max_iter=100_000), grid, cv=cv, scoring="r2").fit(x, y)


def split_scores(search) -> np.ndarray:
    return np.stack([search.cv_results_[f"split{fold}_test_score"] for fold in range(search.n_splits_)], axis=1)


@pytest.mark.parametrize("shape", [(103, 8, 5), (23, 30, 4), (40, 1, 2)])
def test_cross_validation_equals_grid_search_on_the_same_folds(shape):
    x, y = correlated(*shape)
    alphas, ratios = [0.01, 0.1, 1.0], [0.3, 0.9]
    fit = fit_operator(x, y, "elasticnet", alphas=alphas, l1_ratios=ratios, cv_folds=4)
    search = grid_search(x, y, KFold(4), alphas, ratios)
    assert [(a, r) for a, r in zip(fit.alphas, fit.l1_ratios)] == [
        (p["alpha"], p["l1_ratio"]) for p in search.cv_results_["params"]
    ]
    assert np.abs(fit.cv_scores - split_scores(search)).max() < 1e-5
    assert {"alpha": fit.alpha, "l1_ratio": fit.l1_ratio} == search.best_params_
    best = search.best_estimator_
    np.testing.assert_allclose(fit.operator.matrix, best.coef_.reshape(y.shape[1], -1), atol=1e-4)
    np.testing.assert_allclose(fit.operator(x), best.predict(x).reshape(y.shape), atol=1e-3)


def test_scores_of_solutions_that_are_solved_tightly_equal_grid_search_tightly():
    x, y = correlated(103, 8, 5)
    y[:, 1] = 5.0  # constant: predicted exactly, scores 1
    fold = np.arange(103) * 4 // 103
    moments = Moments([(0, 1)], n_folds=4).update({0: x, 1: y}, fold=fold)
    strengths = strengths_of("elasticnet", [0.01, 0.1], [0.3, 0.9])
    scores = cross_validated_elastic_net(moments, 0, 1, strengths, tolerance=1e-14)
    search = grid_search(
        x, y, [(np.flatnonzero(fold != f), np.flatnonzero(fold == f)) for f in range(4)], [0.01, 0.1], [0.3, 0.9]
    )
    assert np.abs(scores - split_scores(search)).max() < 1e-7


def test_documents_are_not_split_between_folds():
    x, y = correlated(200, 6, 3)
    documents = np.sort(np.random.default_rng(0).integers(0, 17, len(x))) * 3
    fit = fit_operator(x, y, "elasticnet", alphas=[0.05, 0.5], l1_ratios=[0.5], documents=documents, cv_folds=4)
    search = grid_search(x, y, list(GroupKFold(4).split(x, y, documents)), [0.05, 0.5], [0.5])
    assert np.abs(fit.cv_scores - split_scores(search)).max() < 1e-6


def test_lasso_is_the_elastic_net_of_ratio_one():
    x, y = correlated(120, 9, 6)
    fit = fit_operator(x, y, "lasso", alphas=[0.05])
    expected = Lasso(alpha=0.05, tol=1e-12, max_iter=100_000).fit(x, y)
    np.testing.assert_allclose(fit.operator.matrix, expected.coef_, atol=1e-4)
    np.testing.assert_allclose(fit.operator.bias, expected.intercept_, atol=1e-3)
    assert (fit.alpha, fit.l1_ratio, fit.operator.l1_ratio, fit.l1_ratios.tolist()) == (0.05, 1.0, 1.0, [1.0])
    assert fit.duality_gap <= 1e-10
    assert fit.operator.method == "lasso"
    assert fit_operator(x, y).l1_ratio is None


def test_an_alpha_chosen_at_the_edge_is_flagged_whatever_its_ratio():
    x, y = correlated(200, 6, 4)
    inside = fit_operator(x, y, "elasticnet", alphas=[1e-5, 0.01, 100.0], l1_ratios=[0.5, 0.9])
    assert (inside.alpha, inside.alpha_at_edge) == (0.01, False)
    for alphas in ([0.01, 100.0], [0.01, 1e-5]):
        assert fit_operator(x, y, "elasticnet", alphas=alphas, l1_ratios=[0.5, 0.9]).alpha_at_edge
    assert not fit_operator(x, y, "elasticnet", alphas=[0.01], l1_ratios=[0.5, 0.9]).alpha_at_edge


def test_a_planted_sparse_map_is_found_with_its_zeros():
    rng = np.random.default_rng(0)
    truth = np.where(rng.random((15, 20)) < 0.1, rng.choice([-1.0, 1.0], (15, 20)), 0.0)
    truth[:, :15] += 2 * np.eye(15)
    x = rng.standard_normal((3000, 20))
    y = x @ truth.T + 0.1 * rng.standard_normal((3000, 15))
    fit = fit_operator(x, y, "lasso")
    assert ((np.abs(fit.operator.matrix) > 0.1) == (truth != 0)).all()
    assert fit.alpha == 0.01
    assert fit.r2_cv > 0.99


# --- mistakes ---


def test_impossible_grids_are_refused():
    x, y = correlated(50, 6, 4)
    for settings, message in (
        ({"method": "lasso", "alphas": [0.0]}, "above 0"),
        ({"method": "elasticnet", "alphas": [-1.0]}, "alphas"),
        ({"method": "elasticnet", "l1_ratios": [0.0]}, "l1_ratios"),
        ({"method": "elasticnet", "l1_ratios": [1.5]}, "l1_ratios"),
        ({"method": "elasticnet", "l1_ratios": []}, "l1_ratios"),
        ({"method": "elasticnet", "l1_ratios": [float("nan")]}, "l1_ratios"),
        ({"method": "ridge", "l1_ratios": [0.5]}, "no effect on ridge"),
        ({"method": "lasso", "l1_ratios": [0.5]}, "no effect on lasso"),
        ({"method": "lasso", "rank": 2}, "rrr or svd"),
    ):
        with pytest.raises(SettingsError, match=message):
            fit_operator(x, y, **settings)


def test_one_fold_is_refused_where_something_is_chosen():
    x, y = correlated(50, 6, 4)
    moments = Moments([(0, 1)]).update({0: x, 1: y}, fold=0)
    with pytest.raises(DataError, match="two train folds"):
        fit_operator_from_moments(moments, 0, 1, "lasso")
    assert fit_operator_from_moments(moments, 0, 1, "lasso", alphas=[0.1]).cv_scores is None
