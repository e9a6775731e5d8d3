"""Scores of operators from tokens against scikit-learn and hand computation."""

from dataclasses import astuple, dataclass

import numpy as np
import pytest
import torch
from scipy.stats import t as student
from sklearn.linear_model import Ridge
from sklearn.metrics import mean_squared_error, r2_score
from sklearn.metrics.pairwise import paired_cosine_distances

from ato.errors import DataError, InputError, MismatchError
from ato.evaluation.residual_formulas import SCORES
from ato.evaluation.residual_moments import residual_scores_from_moments
from ato.evaluation.residual_scores import PairScores
from ato.moments import Moments
from ato.numerics.intervals import Estimate
from ato.residuals import MemorySource, run_pass

N_TRAIN, N_TEST, D = 500, 300, 7


@dataclass(frozen=True)
class Affine:
    matrix: np.ndarray
    bias: np.ndarray

    def __call__(self, x):
        return x @ self.matrix.T + self.bias


def least_squares(x, y, alpha=1.0):
    model = Ridge(alpha).fit(x, y)
    return Affine(np.atleast_2d(model.coef_), np.atleast_1d(model.intercept_))


@dataclass(frozen=True)
class Case:
    """A pair of layers with operators, and all rows at hand."""

    x: np.ndarray
    y: np.ndarray
    documents: np.ndarray
    moments: Moments
    operators: dict[str, Affine]

    def pair_scores(self, blocks=3, dtype=torch.float64):
        scores = PairScores(self.moments, 0, 1, self.operators)
        for rows in np.array_split(np.arange(N_TRAIN, len(self.x)), blocks):
            x, y = (torch.tensor(a[rows], dtype=dtype) for a in (self.x, self.y))
            scores.update(x, y, self.documents[rows])
        return scores


def make_case(seed=0, d_in=D, d_out=D, change=None):
    rng = np.random.default_rng(seed)
    n = N_TRAIN + N_TEST
    x = rng.standard_normal((n, d_in)) @ rng.standard_normal((d_in, d_in)) + 20
    y = 0.7 * x @ rng.standard_normal((d_in, d_out)) + 2 * rng.standard_normal((n, d_out)) - 300
    if d_in == d_out:
        y = x + 0.2 * y
    x, y = change(x, y) if change else (x, y)
    group = np.where(np.arange(n) < N_TRAIN, np.arange(n) % 5, 6)
    moments = Moments([(0, 1)]).update({0: x, 1: y}, group=group)
    d_in, d_out = x.shape[1], y.shape[1]
    operators = {
        "ridge": least_squares(x[:N_TRAIN], y[:N_TRAIN]),
        "mean": Affine(np.zeros((d_out, d_in)), y[:N_TRAIN].mean(0)),
        "random": Affine(rng.standard_normal((d_out, d_in)), rng.standard_normal(d_out)),
    }
    if d_in == d_out:
        operators["identity"] = Affine(np.eye(d_in), np.zeros(d_in))
    return Case(x, y, rng.integers(0, 25, n), moments, operators)


def by_hand(case, operator):
    x, y = case.x[N_TRAIN:], case.y[N_TRAIN:]
    y_hat = operator(x)
    train = case.y[:N_TRAIN]
    metric = np.linalg.inv(np.cov(train.T, bias=True))
    error, about_mean = y - y_hat, y - y.mean(0)
    whitened = [np.einsum("nd,de,ne->", a, metric, a) for a in (error, about_mean)]
    scores = {
        "r2": r2_score(y, y_hat),
        "r2_weighted": r2_score(y, y_hat, multioutput=np.var(y, axis=0)),
        "r2_whitened": 1 - whitened[0] / whitened[1],
        "mse": mean_squared_error(y, y_hat),
        "cosine": 1 - paired_cosine_distances(y, y_hat).mean(),
        "r2_update": None,
        "skill": None,
    }
    if x.shape == y.shape:
        scores["r2_update"] = r2_score(y - x, y_hat - x)
        scores["skill"] = 1 - np.square(error).sum() / np.square(y - x).sum()
    return scores


def value_of(score, name):
    """A score by its name, without its interval."""
    found = getattr(score, name)
    return found.value if isinstance(found, Estimate) else found


@pytest.mark.parametrize(("d_in", "d_out"), [(D, D), (4, 9), (9, 4)])
def test_every_score_of_every_operator_equals_scikit_learn_or_hand_computation(d_in, d_out):
    case = make_case(0, d_in, d_out)
    results = case.pair_scores().result()
    assert list(results) == list(case.operators)
    for name, operator in case.operators.items():
        for score, expected in by_hand(case, operator).items():
            assert value_of(results[name], score) == (None if expected is None else pytest.approx(expected, rel=1e-9))
        assert (results[name].n, results[name].n_documents) == (N_TEST, len(np.unique(case.documents[N_TRAIN:])))


def test_float32_rows_with_means_of_300_sd_and_massive_dimensions_keep_six_digits():
    scales = np.where(np.arange(D) == 2, 1000.0, 1.0)
    offset = 300 * scales * 10

    def massive(x, y):
        return tuple((a * scales + offset).astype(np.float32).astype(np.float64) for a in (x, y))

    case = make_case(1, change=massive)
    results = case.pair_scores(dtype=torch.float32).result()
    for name in ("ridge", "mean", "identity"):
        for score, expected in by_hand(case, case.operators[name]).items():
            assert value_of(results[name], score) == pytest.approx(expected, rel=2e-4, abs=2e-4), (name, score)


def test_operators_kept_in_single_precision_score_float32_rows_the_same():
    case = make_case()
    scores = [PairScores(case.moments, 0, 1, case.operators, single=single) for single in (False, True)]
    x, y = (torch.tensor(rows[N_TRAIN:], dtype=torch.float32) for rows in (case.x, case.y))
    double, single = (of.update(x, y, case.documents[N_TRAIN:]).result() for of in scores)
    assert single == double


def test_limits_are_those_of_leaving_rows_of_a_document_out():
    case = make_case(4)
    result = case.pair_scores().result()["ridge"]
    x, y, documents = (a[N_TRAIN:] for a in (case.x, case.y, case.documents))
    y_hat, (numbers, k) = case.operators["ridge"](x), np.unique(documents, return_counts=True)

    def scores(rows):
        skill = 1 - np.square(y - y_hat)[rows].sum() / np.square(y - x)[rows].sum()
        return r2_score(y[rows], y_hat[rows]), r2_score((y - x)[rows], (y_hat - x)[rows]), skill

    value, n = np.log1p(-np.array(scores(documents == documents))), len(numbers)
    without = np.log1p(-np.array([scores(documents != number) for number in numbers]))
    error = np.sqrt((n - 1) / n * np.square(without - without.mean(0)).sum(0))
    middle = n * value - (n - 1) * without.mean(0)
    reach = student.ppf(0.975, k.sum() ** 2 / (k**2).sum() - 1) * error
    for i, name in enumerate(("r2", "r2_update", "skill")):
        found = getattr(result, name)
        low, high = 1 - np.exp(middle[i] + reach[i]), 1 - np.exp(middle[i] - reach[i])
        assert found.low == pytest.approx(min(low, found.value), rel=1e-3)
        assert found.high == pytest.approx(max(high, found.value), rel=1e-3)


def test_a_network_that_adds_nothing_has_r2_of_one_and_no_update_to_predict():
    case = make_case(5, change=lambda x, y: (x.astype(np.float32), x.astype(np.float32)))
    tokens = case.pair_scores(dtype=torch.float32).result()
    for name in ("identity", "ridge"):
        for found in (tokens[name], residual_scores_from_moments(case.operators[name], case.moments, 0, 1)):
            assert found.r2.value == pytest.approx(1, abs=1e-4)
            assert found.r2.value <= 1
            assert found.r2_whitened.value == pytest.approx(1, abs=1e-4)
            assert found.r2_update == found.skill == Estimate(None)
    assert tokens["identity"].r2.value == 1
    assert tokens["mean"].r2.value < 0.1


def test_identity_and_mean_score_what_they_must():
    results = make_case(6).pair_scores().result()
    assert results["identity"].skill.value == pytest.approx(0, abs=1e-12)
    assert -0.05 < results["mean"].r2.value <= 0
    assert -0.05 < results["mean"].r2_weighted.value <= 0
    assert results["ridge"].skill.value > 0.2


def test_operators_are_scored_apart_whatever_stands_beside_them():
    case = make_case(7)
    together = case.pair_scores().result()
    for name, operator in reversed(case.operators.items()):
        alone = Case(case.x, case.y, case.documents, case.moments, {name: operator}).pair_scores().result()
        assert alone == {name: together[name]}
    assert len({round(score.r2.value, 6) for score in together.values()}) == len(together)


def test_dimensions_that_do_not_vary_are_left_out_of_the_mean():
    def with_constant(x, y):
        return np.hstack([x, np.full((len(x), 1), 0.1)]), np.hstack([y, np.full((len(x), 1), -123.4)])

    plain, wider = make_case(8), make_case(8, change=with_constant)
    expected = by_hand(plain, plain.operators["ridge"])
    for dtype, tolerance in ((torch.float64, 1e-9), (torch.float32, 1e-4)):
        found = wider.pair_scores(dtype=dtype).result()["ridge"]
        from_moments = residual_scores_from_moments(wider.operators["ridge"], wider.moments, 0, 1)
        for score in ("r2", "r2_weighted", "r2_whitened"):
            assert value_of(found, score) == pytest.approx(expected[score], abs=tolerance)
            assert value_of(from_moments, score) == pytest.approx(expected[score], abs=1e-6)


def test_tokens_without_any_variance_give_null():
    case = make_case(9)
    scores = PairScores(case.moments, 0, 1, case.operators)
    scores.update(torch.tensor(case.x[-1:]), torch.tensor(case.y[-1:]), np.array([3]))
    found = scores.result()["ridge"]
    assert found.r2 == found.r2_weighted == found.r2_whitened == found.r2_update == Estimate(None)
    assert found.skill.value is not None
    assert found.mse > 0


def test_one_document_gives_scores_without_limits():
    case = make_case(10)
    scores = PairScores(case.moments, 0, 1, case.operators)
    scores.update(torch.tensor(case.x), torch.tensor(case.y), np.full(len(case.x), 4))
    found = scores.result()["ridge"]
    assert found.r2.value is not None
    assert all(getattr(found, name) == Estimate(value_of(found, name)) for name in SCORES)


def test_block_order_changes_nothing_and_parts_merge():
    case = make_case(11)
    whole = case.pair_scores(blocks=1).result()
    reordered = Case(
        *(np.concatenate([a[:N_TRAIN], a[N_TRAIN:][::-1]]) for a in (case.x, case.y, case.documents)),
        case.moments,
        case.operators,
    )
    first, second = (PairScores(case.moments, 0, 1, case.operators) for _ in range(2))
    for part, rows in ((first, slice(N_TRAIN, 600)), (second, slice(600, None))):
        part.update(torch.tensor(case.x[rows]), torch.tensor(case.y[rows]), case.documents[rows])
    for other in (reordered.pair_scores(blocks=9).result(), (first + second).result()):
        for name, score in whole.items():
            for found, expected in zip(astuple(other[name]), astuple(score), strict=True):
                np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


def test_one_pass_over_a_source_reads_the_layers_of_the_pair():
    case = make_case(12)
    group = np.where(np.arange(len(case.x)) < N_TRAIN, 0, 6)
    rows = {0: torch.tensor(case.x), 1: torch.tensor(case.y)}
    source = MemorySource(rows, document=case.documents, group=group, block_rows=64)
    scores = PairScores(case.moments, 0, 1, case.operators)
    assert run_pass(source, [scores], splits=["test"]) == N_TEST
    expected = case.pair_scores().result()["ridge"].r2.value
    assert scores.result()["ridge"].r2.value == pytest.approx(expected, abs=1e-5)


def test_independent_rows_are_never_predicted():
    rng = np.random.default_rng(13)
    n = N_TRAIN + N_TEST
    case = make_case(13, change=lambda *_: tuple(rng.standard_normal((2, n, D))))
    found = case.pair_scores().result()["ridge"]
    assert max(found.r2.value, found.r2_weighted.value, found.r2_whitened.value) < 0.01


def test_uses_that_cannot_be_meant_are_refused():
    case = make_case(14)
    with pytest.raises(DataError, match="no tokens were scored"):
        PairScores(case.moments, 0, 1, case.operators).result()
    with pytest.raises(InputError, match=r"shape \(3, 7\)"):
        PairScores(case.moments, 0, 1, {"narrow": Affine(np.zeros((3, 7)), np.zeros(3))})
    with pytest.raises(MismatchError, match="different operators"):
        PairScores(case.moments, 0, 1, case.operators) + PairScores(case.moments, 0, 1, {})


@pytest.mark.parametrize("score", SCORES)
def test_the_difference_of_two_operators_is_that_of_their_scores_and_its_interval_is_paired(score):
    scores = make_case().pair_scores()
    first, second, *_ = scores.operators
    results = scores.result()
    difference = scores.difference(first, second, score)
    of = [getattr(results[name], score) for name in (first, second)]
    assert difference.value == pytest.approx(of[0].value - of[1].value, abs=1e-12)
    assert difference.low <= difference.value <= difference.high
    assert difference.high - difference.low <= sum(estimate.high - estimate.low for estimate in of) + 1e-12
    assert scores.difference(first, first, score) == Estimate(0.0, 0.0, 0.0)


def test_leaving_the_whitened_score_out_changes_no_other():
    case = make_case()
    whole, part = case.pair_scores(), PairScores(case.moments, 0, 1, case.operators, whitened=False)
    rows = np.arange(N_TRAIN, len(case.x))
    part.update(*(torch.tensor(a[rows], dtype=torch.float64) for a in (case.x, case.y)), case.documents[rows])
    for name, score in part.result().items():
        full = whole.result()[name]
        assert score.r2_whitened == Estimate(None)
        assert score.r2.value == pytest.approx(full.r2.value, abs=1e-12)
        assert astuple(score.skill) == pytest.approx(astuple(full.skill), abs=1e-12)
