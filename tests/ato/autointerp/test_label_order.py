"""A budget of labels goes to the features that matter most, and the curve says how much they cover."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.autointerp.label_order import coverage, order_by_size, order_by_verdict
from ato.errors import InputError

SIZES = st.lists(st.one_of(st.just(float("nan")), st.floats(-9, 9).map(lambda x: round(x, 1))), max_size=30)


def test_the_largest_of_either_sign_come_first_unknown_ones_last_and_ties_by_id():
    sizes, ids = np.array([1.0, np.nan, -3.0, 1.0, 0.0, np.nan]), np.array([9, 8, 7, 2, 5, 1])
    assert ids[order_by_size(sizes, ids)].tolist() == [7, 2, 9, 5, 1, 8]
    assert order_by_size(np.array([])).tolist() == []


@given(SIZES)
def test_the_order_is_that_of_sorting_tuples(sizes):
    expected = sorted(range(len(sizes)), key=lambda i: (np.isnan(sizes[i]), -abs(np.nan_to_num(sizes[i])), i))
    assert order_by_size(np.array(sizes)).tolist() == expected


def test_verdicts_come_in_their_order_and_unknown_ones_last():
    verdicts = ["transported", None, "computed", "undetermined", "computed", "odd"]
    assert order_by_verdict(verdicts, np.array([5, 1, 4, 2, 3, 0])).tolist() == [4, 2, 3, 0, 5, 1]
    assert order_by_verdict(verdicts, first=["transported"]).tolist() == [0, 1, 2, 3, 4, 5]


@given(SIZES)
def test_no_other_order_covers_more_with_any_number_of_features(sizes):
    effects = np.array(sizes)
    best = coverage(effects, order_by_size(effects))
    for other in (np.arange(len(sizes)), np.arange(len(sizes))[::-1]):
        assert not (coverage(effects, other) > best + 1e-12).any()
    if np.nansum(np.abs(effects)) > 0:
        assert best[-1] == pytest.approx(1)
        assert best[0] == pytest.approx(np.nanmax(np.abs(effects)) / np.nansum(np.abs(effects)))
    else:
        assert np.isnan(best).all()


def test_an_order_that_is_none_is_refused():
    with pytest.raises(InputError, match="name every feature once"):
        coverage(np.ones(3), np.array([0, 0, 1]))
    with pytest.raises(InputError, match="pass one for each"):
        order_by_size(np.ones(3), np.arange(2))
