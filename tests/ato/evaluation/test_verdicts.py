"""Verdicts follow from intervals, never from points."""

import numpy as np
import pytest

from ato.errors import SettingsError
from ato.evaluation.verdicts import verdicts
from ato.numerics.intervals import EstimateArray


def test_verdicts_come_from_intervals():
    low, high = np.array([0.7, 0.6, 0.0, 0.0, np.nan, 0.9]), np.array([0.9, 0.99, 0.3, 0.31, np.nan, np.nan])
    r2 = EstimateArray(np.full(6, 0.8), low, high)
    expected = ["transported", "undetermined", "synthesised", "undetermined", "undetermined", "undetermined"]
    assert verdicts(r2).tolist() == expected
    assert verdicts(r2, transported_above=0.95, synthesised_below=-1).tolist() == ["undetermined"] * 6
    with pytest.raises(SettingsError, match="not in order"):
        verdicts(r2, transported_above=0.2)
