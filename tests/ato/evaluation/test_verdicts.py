"""Verdicts follow from intervals, never from points."""

from functools import partial

import numpy as np
import pytest

from ato.errors import SettingsError
from ato.evaluation.verdicts import verdicts
from ato.numerics.intervals import EstimateArray
from ato.numerics.scales import UNEXPLAINED
from benchmarks.coverage import Case, draw_r2, draws, ours
from benchmarks.coverage import r2 as r2_of_sums


def test_verdicts_come_from_intervals():
    low, high = np.array([0.7, 0.6, 0.0, 0.0, np.nan, 0.9]), np.array([0.9, 0.99, 0.3, 0.31, np.nan, np.nan])
    r2 = EstimateArray(np.full(6, 0.8), low, high)
    expected = ["transported", "undetermined", "computed", "undetermined", "undetermined", "undetermined"]
    assert verdicts(r2).tolist() == expected
    assert verdicts(r2, transported_above=0.95, computed_below=-1).tolist() == ["undetermined"] * 6
    with pytest.raises(SettingsError, match="not in order"):
        verdicts(r2, transported_above=0.2)


@pytest.mark.parametrize("documents", [5, 10, 40])
@pytest.mark.parametrize(("error", "wrong"), [(0.3, "transported"), (0.7, "computed")])
def test_a_feature_at_a_threshold_is_rarely_called_beyond_it(documents, error, wrong):
    case = Case("", partial(draw_r2, error), r2_of_sums, 1 - error, UNEXPLAINED)
    low, high = ours(case, draws(case, documents, 1000))
    assert (verdicts(EstimateArray((low + high) / 2, low, high)) == wrong).mean() <= 0.06
