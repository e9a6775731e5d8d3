"""Solvers against independent algorithms: scikit-learn, least squares, subspace angles, brute force."""

import numpy as np
import pytest
from scipy.linalg import subspace_angles
from sklearn.linear_model import Ridge

from ato.errors import InputError, SettingsError
from ato.operators.solvers import decompose, output_root, reduced_rank, ridge, ridge_errors

EPSILON = float(np.finfo(np.float64).eps)


@pytest.fixture(scope="module")
def planted():
    """Centred X [n, 12], Y [n, 9] with a rank-4 map, correlated inputs and noise."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((400, 12)) @ rng.standard_normal((12, 12))
    y = x @ rng.standard_normal((12, 4)) @ rng.standard_normal((4, 9)) + 3 * rng.standard_normal((400, 9))
    return x - x.mean(0), y - y.mean(0)


def test_ridge_equals_scikit_learn_at_every_strength(planted):
    x, y = planted
    eigen = decompose(x.T @ x)
    for alpha in (0.01, 1.0, 100.0, 1e5):
        expected = Ridge(alpha=alpha).fit(x, y).coef_
        assert np.abs(ridge(eigen, x.T @ y, alpha).T - expected).max() < 1e-10


def test_strength_zero_is_the_least_squares_solution_of_smallest_norm(planted):
    x, y = planted
    for rows in (x, x[:7], np.hstack([x, x[:, :5]]), np.hstack([x, np.zeros((400, 1))])):
        expected = np.linalg.lstsq(rows, y[: len(rows)], rcond=None)[0]
        eigen = decompose(rows.T @ rows)
        assert eigen.kept_rank == np.linalg.matrix_rank(rows)
        assert np.abs(ridge(eigen, rows.T @ y[: len(rows)], 0.0) - expected).max() < 1e-8


def test_a_scatter_of_zeros_keeps_no_direction_and_gives_the_zero_map():
    eigen = decompose(np.zeros((3, 3)))
    assert eigen.kept_rank == 0
    assert not ridge(eigen, np.zeros((3, 2)), 0.0).any()


def test_massive_coordinates_do_not_hide_the_others_behind_float32_rounding():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((500, 10))
    x[:, :2] *= 3000
    x = np.hstack([x, x[:, 5:6]])
    single = x.astype(np.float32)
    assert decompose((single.T @ single).astype(np.float64), float(np.finfo(np.float32).eps)).kept_rank == 10


def test_the_quadratic_form_of_errors_equals_the_errors_of_each_solution(planted):
    x, y = planted
    train, test = slice(0, 250), slice(250, 400)
    eigen = decompose(x[train].T @ x[train])
    alphas = np.array([0.0, 1.0, 30.0, 1e4])
    weights = np.random.default_rng(1).uniform(size=9)
    q = eigen.vectors
    got = ridge_errors(
        eigen,
        x[train].T @ y[train],
        q.T @ x[test].T @ x[test] @ q,
        q.T @ x[test].T @ y[test],
        (y[test] ** 2).sum(0),
        weights,
        alphas,
    )
    solutions = (ridge(eigen, x[train].T @ y[train], alpha) for alpha in alphas)
    expected = [((y[test] - x[test] @ weights_of) ** 2).sum(0) @ weights for weights_of in solutions]
    assert np.allclose(got, expected, rtol=1e-10)


def reduced(x, y, alpha, output_weight, decoder=None):
    root, inverse = output_root(output_weight, y.T @ y, EPSILON, decoder)
    return reduced_rank(decompose(x.T @ x), x.T @ y, alpha, root, inverse)


@pytest.mark.parametrize("alpha", [0.0, 50.0])
@pytest.mark.parametrize("output_weight", ["whitened", "raw", "features"])
def test_reduced_rank_at_full_rank_equals_ridge(planted, output_weight, alpha):
    x, y = planted
    decoder = np.random.default_rng(2).standard_normal((30, 9))
    solution = reduced(x, y, alpha, output_weight, decoder)
    assert np.abs(solution.weights(9) - ridge(decompose(x.T @ x), x.T @ y, alpha)).max() < 1e-9


def test_whitened_gains_without_penalty_are_the_squared_canonical_correlations(planted):
    x, y = planted
    rho = np.cos(subspace_angles(x, y))
    assert np.allclose(np.sort(reduced(x, y, 0.0, "whitened").gains), np.sort(rho**2), atol=1e-10)


def weighted_error(x, y, weights, root):
    return (((y - x @ weights) @ root) ** 2).sum()


@pytest.mark.parametrize("output_weight", ["whitened", "raw", "features"])
def test_in_its_own_metric_no_map_of_a_rank_beats_reduced_rank_regression(planted, output_weight):
    x, y = planted
    decoder = np.random.default_rng(2).standard_normal((3, 9))
    root, _ = output_root(output_weight, y.T @ y, EPSILON, decoder)
    full = ridge(decompose(x.T @ x), x.T @ y, 0.0)
    u, s, vt = np.linalg.svd(full)
    solutions = {name: reduced(x, y, 0.0, name, decoder) for name in ("whitened", "raw", "features")}
    errors = []
    for rank in range(1, 10):
        own = weighted_error(x, y, solutions[output_weight].weights(rank), root)
        rivals = [solution.weights(rank) for solution in solutions.values()] + [u[:, :rank] * s[:rank] @ vt[:rank]]
        assert all(own <= weighted_error(x, y, rival, root) * (1 + 1e-10) for rival in rivals)
        errors.append(own)
    assert all(np.diff(errors) <= 1e-9 * errors[0])
    explained = ((y @ root) ** 2).sum() - errors[-1]
    assert np.isclose(solutions[output_weight].gains.sum(), explained, rtol=1e-9)


def test_rank_of_the_features_span_suffices_for_the_features(planted):
    x, y = planted
    decoder = np.random.default_rng(2).standard_normal((2, 9))
    full = ridge(decompose(x.T @ x), x.T @ y, 0.0)
    low = reduced(x, y, 0.0, "features", decoder).weights(2)
    reached, best = (((y - x @ weights) @ decoder.T) ** 2 for weights in (low, full))
    assert reached.sum() < best.sum() * (1 + 1e-4)
    raw = reduced(x, y, 0.0, "raw").weights(2)
    assert reached.sum() < (((y - x @ raw) @ decoder.T) ** 2).sum()


def test_a_constant_target_coordinate_does_not_disturb_whitening(planted):
    x, y = planted
    flat = np.hstack([y, np.zeros((400, 1))])
    weights = reduced(x, flat, 1.0, "whitened").weights(9)
    assert np.allclose(weights[:, :9], reduced(x, y, 1.0, "whitened").weights(9), atol=1e-10)
    assert not np.abs(weights[:, 9]).max() > 1e-12


def test_unknown_weights_and_unfit_decoders_are_refused(planted):
    _, y = planted
    with pytest.raises(SettingsError, match="whitened"):
        output_root("white", y.T @ y, EPSILON)
    with pytest.raises(SettingsError, match="decoder"):
        output_root("features", y.T @ y, EPSILON)
    with pytest.raises(InputError):
        output_root("features", y.T @ y, EPSILON, np.ones((4, 5)))
