"""An estimate becomes three columns, whatever it is called."""

import numpy as np

from ato.numerics.intervals import Estimate, EstimateArray
from tasks.engine.columns import estimate_columns


def test_each_estimate_becomes_three_columns_under_its_name():
    assert estimate_columns(r2_test=Estimate(0.5, 0.4, 0.6), skill=Estimate(None)) == {
        "r2_test": 0.5,
        "r2_test_low": 0.4,
        "r2_test_high": 0.6,
        "skill": None,
        "skill_low": None,
        "skill_high": None,
    }


def test_arrays_become_arrays():
    columns = estimate_columns(r2=EstimateArray(*np.arange(6.0).reshape(3, 2)))
    assert {name: values.tolist() for name, values in columns.items()} == {
        "r2": [0, 1],
        "r2_low": [2, 3],
        "r2_high": [4, 5],
    }
