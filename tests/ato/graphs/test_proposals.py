"""Proposed supernodes: planted groups are found, any two members are alike, and positions are never mixed."""

import numpy as np
import pytest

from ato.errors import SettingsError
from ato.graphs.proposals import propose
from tests.ato.graphs.graphs_by_hand import graph_of


def features_at(positions, influence=None):
    n = len(positions)
    values = {"position": positions, "layer": np.arange(n) % 3, "activation": np.ones(n)}
    return graph_of(["feature"] * n, [], **values, influence=np.arange(n) / n if influence is None else influence)


def test_planted_directions_are_found_whatever_the_order_and_length_of_their_rows():
    rng = np.random.default_rng(0)
    truth = rng.permutation(np.repeat(np.arange(4), 5))
    directions = np.linalg.qr(rng.standard_normal((16, 4)))[0].T
    rows = (directions[truth] + 0.05 * rng.standard_normal((20, 16))) * rng.uniform(1, 50, (20, 1))
    found = propose(features_at([1] * 20), rows, 0.7)
    assert {frozenset(one.nodes) for one in found} == {frozenset(np.flatnonzero(truth == k)) for k in range(4)}
    assert [one.nodes for one in found] == sorted((one.nodes for one in found), key=min), "most influential first"


def test_any_two_of_a_group_have_the_cosine_and_no_two_groups_share_a_node():
    rng = np.random.default_rng(1)
    rows, positions = rng.standard_normal((60, 4)), rng.integers(0, 3, 60)
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    for least in (0.3, 0.7, 0.95):
        found = propose(features_at(positions), rows, least)
        nodes = [node for one in found for node in one.nodes]
        assert len(set(nodes)) == len(nodes)
        for one in found:
            cosines = unit[list(one.nodes)] @ unit[list(one.nodes)].T
            assert one.cosine == pytest.approx(cosines.min())
            assert one.cosine >= least - 1e-6
            assert len(set(positions[list(one.nodes)])) == 1


def test_equal_rows_are_one_group_opposite_and_empty_ones_none():
    row = np.arange(1.0, 5.0)
    assert [one.nodes for one in propose(features_at([0] * 3), np.stack([row] * 3), 1.0)] == [(0, 1, 2)]
    assert propose(features_at([0] * 2), np.stack([row, -row]), 0.1) == []
    assert propose(features_at([0] * 2), np.zeros((2, 4)), 0.5) == []
    assert propose(features_at([0, 1]), np.stack([row, row]), 0.5) == []
    assert propose(features_at([]), np.zeros((0, 4)), 0.5) == []


def test_a_cosine_that_groups_everything_is_refused():
    with pytest.raises(SettingsError, match="above 0"):
        propose(features_at([0, 0]), np.ones((2, 4)), 0.0)
