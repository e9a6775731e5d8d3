"""Attended positions: dense arrays become lists of their own lengths, and come back dense."""

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from ato.residuals.attended import Attended
from warehouse.datasets.attended import attended_columns, attended_of

POSITIONS = np.array([[2, 0, -1], [1, -1, -1], [-1, -1, -1], [3, 2, 1]], dtype=np.int32)


@pytest.fixture
def block(make_block):
    """Four tokens of one sequence that attend to two, one, no and three positions."""
    weights = np.where(POSITIONS >= 0, [0.5, 0.25, 0.125], 0).astype(np.float32)
    return replace(make_block([0], [4], 6), attended={4: Attended(POSITIONS, weights)})


def test_lists_hold_the_positions_that_there_are(block):
    columns = attended_columns(block, 4)
    assert columns["source_positions"].to_pylist() == [[2, 0], [1], [], [3, 2, 1]]
    assert columns["weights"].to_pylist() == [[0.5, 0.25], [0.5], [], [0.5, 0.25, 0.125]]


@pytest.mark.parametrize("order", [[0, 1, 2, 3], [3, 1, 0, 2]])
def test_they_come_back_dense_in_the_order_of_the_tokens(block, order):
    table = pa.table(attended_columns(block, 4)).take(order)
    found = attended_of(table, block.sequence_id, block.position, 3)
    np.testing.assert_array_equal(found.positions, POSITIONS)
    np.testing.assert_array_equal(found.weights, block.attended[4].weights)
    assert (found.positions.dtype, found.weights.dtype) == (np.int32, np.float32)


def test_a_table_of_other_tokens_gives_nothing(block):
    table = pa.table(attended_columns(block, 4))
    assert attended_of(table, block.sequence_id + 1, block.position, 3) is None
    assert attended_of(table.slice(1), block.sequence_id, block.position, 3) is None
