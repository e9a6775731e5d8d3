"""The five scores of residual space, on sums of squares that are known."""

import numpy as np
import pytest

from ato.evaluation.residual_formulas import SCORES, TargetSquares, five_scores, varying


def scores(sse, sse_white=1.0, y=(4.0, 16.0), white=4.0, update=(2.0, 8.0), identity=10.0):
    squares = TargetSquares(*(np.array(x, dtype=float)[None] for x in (y, white, update, identity)))
    found = five_scores(np.array(sse, dtype=float)[None], np.array([sse_white]), squares)[0]
    return dict(zip(SCORES, found, strict=True))


def test_each_score_is_its_formula():
    assert scores([1, 8]) == pytest.approx(
        {
            "r2": 1 - (1 / 4 + 8 / 16) / 2,
            "r2_weighted": 1 - 9 / 20,
            "r2_whitened": 1 - 1 / 4,
            "r2_update": 1 - (1 / 2 + 8 / 8) / 2,
            "skill": 1 - 9 / 10,
        }
    )


def test_no_error_scores_one_and_rounding_below_zero_no_more():
    assert scores([0, 0], sse_white=-1e-9) == dict.fromkeys(SCORES, 1.0)


def test_dimensions_that_do_not_vary_are_left_out_and_without_any_there_is_no_score():
    assert scores([1, 8], y=(4, np.nan))["r2"] == 1 - 1 / 4
    none = scores([1, 8], y=(np.nan, np.nan), white=np.nan, update=[np.nan], identity=np.nan)
    assert np.isnan(list(none.values())).all()


def test_sums_of_squares_vary_where_they_exceed_rounding():
    np.testing.assert_array_equal(varying(np.array([0.0, 1.0, 2.0]), np.array([0.0, 1.0, 1.0])), [np.nan, np.nan, 2])
