"""Scores of operators from moments alone against those from tokens."""

import pytest
from sklearn.metrics import r2_score

from ato.errors import LayerError
from ato.evaluation.residual_formulas import SCORES
from ato.evaluation.residual_moments import residual_scores_from_moments
from tests.ato.evaluation.test_residual_scores import N_TEST, N_TRAIN, D, make_case, value_of


@pytest.mark.parametrize(("d_in", "d_out"), [(D, D), (4, 9)])
def test_scores_from_moments_equal_scores_from_tokens(d_in, d_out):
    case = make_case(2, d_in, d_out)
    results = case.pair_scores().result()
    for name, operator in case.operators.items():
        found = residual_scores_from_moments(operator, case.moments, 0, 1, "test")
        for score in (*SCORES, "mse"):
            expected = value_of(results[name], score)
            assert value_of(found, score) == (None if expected is None else pytest.approx(expected, abs=1e-6, rel=1e-6))
        assert (found.n, found.n_documents, found.cosine, found.r2.low) == (N_TEST, None, None, None)


def test_leaving_the_whitened_score_out_changes_no_other():
    case = make_case(4)
    for operator in case.operators.values():
        every, others = (
            residual_scores_from_moments(operator, case.moments, 0, 1, "test", whitened=whitened)
            for whitened in (True, False)
        )
        assert others.r2_whitened.value is None
        for score in (*SCORES, "mse"):
            if score != "r2_whitened":
                assert value_of(others, score) == pytest.approx(value_of(every, score), rel=1e-9, abs=1e-9)


def test_scores_from_moments_of_train_are_those_of_all_folds():
    case = make_case(3)
    x, y = case.x[:N_TRAIN], case.y[:N_TRAIN]
    operator = case.operators["ridge"]
    train = residual_scores_from_moments(operator, case.moments, 0, 1, "train")
    assert train.r2.value == pytest.approx(r2_score(y, operator(x)), abs=1e-9)
    fold = residual_scores_from_moments(operator, case.moments, 0, 1, ["train-2"])
    assert fold.r2.value == pytest.approx(r2_score(y[2::5], operator(x[2::5])), abs=1e-9)


def test_a_pair_that_the_moments_do_not_hold_is_refused():
    case = make_case(3)
    with pytest.raises(LayerError):
        residual_scores_from_moments(case.operators["ridge"], case.moments, 0, 5)
