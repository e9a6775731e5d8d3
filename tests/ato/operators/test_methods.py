"""The registry of methods: what it names exists, every entry can be fitted, and a solver alone is enough for a method."""

import re
from pathlib import Path

import numpy as np
import pytest

from ato.errors import InputError, SettingsError
from ato.moments import Moments
from ato.operators import method_solvers
from ato.operators.fitting import fit_operator, fit_operator_from_moments
from ato.operators.method_solvers import FitProblem, refitted_r2
from ato.operators.methods import BASELINES, DEFAULT_METHODS, METHODS
from ato.operators.methods_page import methods_page
from ato.operators.strengths import strengths_of


@pytest.fixture(scope="module")
def moments() -> Moments:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((300, 6)) @ rng.standard_normal((6, 6)) + 2
    y = x @ rng.standard_normal((6, 6)) / 4 + rng.standard_normal((300, 6))
    return Moments([(0, 1)]).update({0: x, 1: y}, rng.integers(0, 7, 300))


@pytest.mark.parametrize("method", METHODS.values(), ids=list(METHODS))
def test_every_entry_can_be_fitted_and_chooses_what_it_says_it_chooses(moments, method):
    decoder = np.random.default_rng(0).standard_normal((9, 6)) if "decoder" in method.parameters else None
    matrix = np.eye(6) if method.measured else None
    fit = fit_operator_from_moments(moments, 0, 1, method.name, decoder=decoder, matrix=matrix)
    assert fit.operator.method == (method.stored_as or method.name)
    assert len(fit.alphas) == len(method.alphas) * max(len(method.l1_ratios), 1)
    assert (fit.l1_ratio is None) == (not method.l1_ratios)
    assert (fit.cv_scores is None) == (not method.alphas)
    assert (len(method.alphas) > 1) == (method.penalised is not None) == ("alphas" in method.parameters)


@pytest.mark.parametrize(
    ("method", "tolerance"), [("ridge", 1e-10), ("ridge_to_identity", 1e-10), ("elasticnet", 1e-4)]
)
def test_refitting_on_every_fold_gives_the_scores_of_the_scorers(moments, method, tolerance):
    alphas = [0.01, 0.1, 10.0]
    problem = FitProblem(moments, 0, 1, moments.train_folds, strengths_of(method, alphas))
    expected = fit_operator_from_moments(moments, 0, 1, method, alphas).cv_scores
    found = refitted_r2(problem, getattr(method_solvers, METHODS[method].solver))
    np.testing.assert_allclose(found, expected, atol=tolerance)


def test_a_method_for_features_is_reduced_rank_in_the_metric_of_their_decoder(moments):
    decoder = np.random.default_rng(0).standard_normal((9, 6))
    fit = fit_operator_from_moments(moments, 0, 1, "rrr_features", rank=2, decoder=decoder)
    same = fit_operator_from_moments(moments, 0, 1, "rrr", rank=2, output_weight="features", decoder=decoder)
    assert np.array_equal(fit.operator.matrix, same.operator.matrix)
    assert fit.operator.output_weight == same.operator.output_weight == "features"


def test_a_measured_map_goes_through_the_train_means_and_is_told_from_a_fitted_one(moments):
    matrix = np.random.default_rng(1).standard_normal((6, 6))
    operator = fit_operator_from_moments(moments, 0, 1, "jacobian", matrix=matrix).operator
    ridge = fit_operator_from_moments(moments, 0, 1, "ridge").operator
    assert np.array_equal(operator.matrix, matrix)
    np.testing.assert_allclose(operator(ridge.x_mean), ridge.y_mean)
    for method, given in (("jacobian", None), ("ridge", matrix)):
        with pytest.raises(SettingsError, match="matrix"):
            fit_operator_from_moments(moments, 0, 1, method, matrix=given)
    with pytest.raises(InputError, match="6, 6"):
        fit_operator_from_moments(moments, 0, 1, "jacobian", matrix=matrix[:5])


@pytest.mark.parametrize("method", [name for name, method in METHODS.items() if not method.fits_rows] + ["rigde"])
def test_what_rows_alone_do_not_give_is_refused_in_one_line(method):
    with pytest.raises(SettingsError, match=method) as refused:
        fit_operator(np.eye(6), np.eye(6), method)
    assert "\n" not in str(refused.value)
    offered = re.findall(r"'([^']+)'", str(refused.value).split("choose from")[1])
    assert offered == [name for name, method in METHODS.items() if method.fits_rows]


def test_colours_are_those_of_one_method():
    colours = [method.colour for method in METHODS.values() if method.colour is not None]
    assert len(set(colours)) == len(colours)
    assert all(re.fullmatch(r"#[0-9A-F]{6}", colour) for colour in colours)


def test_the_defaults_are_methods_and_baselines_choose_nothing_of_their_own():
    assert set(DEFAULT_METHODS) <= set(METHODS)
    assert all(METHODS[name].penalised is None or METHODS[name].strength_of in METHODS for name in BASELINES)


def test_the_page_of_methods_is_the_one_that_the_registry_gives():
    page = (Path(__file__).parents[3] / "docs" / "methods.md").read_text(encoding="utf-8")
    assert page == methods_page(), "run: python -m ato.operators.methods_page > docs/methods.md"
