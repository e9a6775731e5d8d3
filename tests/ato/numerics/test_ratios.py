"""A ratio is a number where something is below the line, and NaN elsewhere."""

import numpy as np

from ato.numerics.ratios import ratio


def test_a_ratio_is_nan_where_nothing_is_below_the_line():
    found = ratio([[1, 2, 0], [3, 4, 5]], [2, 0, np.nan])
    np.testing.assert_array_equal(found, [[0.5, np.nan, np.nan], [1.5, np.nan, np.nan]])
    assert found.dtype == np.float64


def test_a_ratio_of_numbers_is_a_number():
    assert float(ratio(3, 4)) == 0.75
    assert np.isnan(float(ratio(0.0, -1.0)))
