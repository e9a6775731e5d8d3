"""Rows are stacked so that padding and passes cost least."""

from itertools import pairwise

import numpy as np
import pytest

from ato.causal.stacks import _PASS, stacks


def cost(lengths: np.ndarray, found: list[np.ndarray]) -> int:
    return sum(len(stack) * int(lengths[stack].max()) + _PASS for stack in found)


@pytest.mark.parametrize("seed", range(5))
def test_every_row_is_in_one_stack_and_no_cut_of_the_order_is_cheaper(seed):
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, 200, size=7)
    found = stacks(lengths, 400)
    assert sorted(np.concatenate(found).tolist()) == list(range(7))
    assert all(len(stack) * lengths[stack].max() <= 400 for stack in found)
    order = np.argsort(-lengths, kind="stable")
    for cuts in range(1 << 6):
        ends = [0, *(i + 1 for i in range(6) if cuts >> i & 1), 7]
        other = [order[a:b] for a, b in pairwise(ends)]
        if all(len(stack) * lengths[stack].max() <= 400 for stack in other):
            assert cost(lengths, found) <= cost(lengths, other)


def test_equal_rows_share_a_stack_up_to_the_limit_and_a_longer_row_is_alone():
    assert [len(stack) for stack in stacks(np.full(8, 100), 400)] == [4, 4]
    assert [len(stack) for stack in stacks(np.array([900, 10, 10]), 400)] == [1, 2]
    assert stacks(np.zeros(0, dtype=np.int64), 400) == []
