"""Bars and percentiles are those of the values that were counted."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ato.errors import InputError
from ato.features.exports.histograms import equal_bars, percentiles

COUNTS = st.lists(st.integers(0, 50), min_size=1, max_size=12)


def test_bars_over_the_same_edges_are_the_counts():
    middles, heights = equal_bars([0, 1, 2, 3], [5, 0, 7], 0, 3, n_bars=3)
    assert middles.tolist() == [0.5, 1.5, 2.5]
    assert heights.tolist() == pytest.approx([5, 0, 7])


@given(COUNTS, st.integers(1, 30))
def test_bars_over_the_whole_range_hold_every_count(counts, n_bars):
    edges = np.geomspace(1, 1_000, len(counts) + 1)
    middles, heights = equal_bars(edges, counts, 1, 1_000, n_bars)
    assert len(middles) == len(heights) == n_bars
    assert heights.sum() == pytest.approx(sum(counts))
    assert (heights >= 0).all()


def test_what_lies_outside_is_left_out():
    _, heights = equal_bars([0, 1, 2, 3], [5, 6, 7], 1, 2, n_bars=4)
    assert heights.sum() == pytest.approx(6)
    _, heights = equal_bars([0, 1], [5], -4, 4, n_bars=8)
    assert heights.tolist() == pytest.approx([0, 0, 0, 0, 5, 0, 0, 0])


@given(COUNTS, st.randoms(use_true_random=False))
def test_percentiles_lie_in_the_bin_of_the_values_percentile(counts, random):
    edges = np.arange(len(counts) + 1.0)
    found = percentiles(edges, counts)
    if not sum(counts):
        assert len(found) == 0
        return
    values = np.repeat(np.arange(len(counts)) + random.uniform(0.1, 0.9), counts)
    exact = np.quantile(values, np.arange(1, 100) / 100, method="inverted_cdf")
    assert (np.diff(found) >= 0).all()
    assert (np.floor(found - 1e-9) <= np.floor(exact)).all()
    assert (np.ceil(found + 1e-9) >= np.ceil(exact)).all()


def test_percentiles_of_evenly_spread_values_are_exact():
    assert percentiles([0, 50, 100], [10, 10]) == pytest.approx(np.arange(1, 100))


@pytest.mark.parametrize("low_high", [(1, 1), (2, 1), (float("nan"), 1)])
def test_nothing_is_drawn_without_a_range_or_a_bin(low_high):
    assert [len(part) for part in equal_bars([0, 1], [5], *low_high)] == [0, 0]
    assert [len(part) for part in equal_bars([], [], 0, 1)] == [0, 0]
    assert len(percentiles([], [])) == 0


@pytest.mark.parametrize("edges", [[0, 1], [0, 2, 1], [0, 1, 1], [0, 1, float("inf")], []])
def test_edges_that_bound_no_bins_are_refused(edges):
    with pytest.raises(InputError, match="ascending edges"):
        percentiles(edges, [1, 2])
