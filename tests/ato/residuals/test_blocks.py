"""Blocks keep rows and keys together, and a pass feeds every block to all that ask."""

from dataclasses import fields

import numpy as np
import pytest
import torch

from ato.errors import NonFiniteError
from ato.residuals import MemorySource, ResidualBlock, run_pass
from ato.residuals.attended import Attended
from ato.residuals.blocks import check_finite
from ato.residuals.position_policies import permuted_key

KEYS = ("sequence_id", "position", "token_id", "document", "group")
X = permuted_key(4)


def block_of(n: int, start: int = 0) -> ResidualBlock:
    """Rows that carry their number in every array."""
    row = np.arange(start, start + n)
    x = torch.from_numpy(np.stack([row, -row], axis=1)).float()
    keys = (row * factor for factor in (1, 2, 3, 4, 5))
    attended = Attended(row[:, None].astype(np.int32), row[:, None].astype(np.float32))
    return ResidualBlock({4: x, 1: 10 * x, X: 100 * x}, *keys, attended={4: attended})


def assert_same(found: ResidualBlock, expected: ResidualBlock) -> None:
    assert found.layers == expected.layers
    for layer in found.layers:
        assert torch.equal(found.residuals[layer], expected.residuals[layer])
    for name in KEYS:
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    for layer, attended in expected.attended.items():
        np.testing.assert_array_equal(found.attended[layer].positions, attended.positions)
        np.testing.assert_array_equal(found.attended[layer].weights, attended.weights)


def test_layers_are_ascending_and_keys_come_last():
    assert block_of(3).layers == (1, 4, X)
    assert block_of(3).n == 3


def test_selected_rows_keep_all_that_belongs_to_them():
    mask = np.array([True, False, False, True, True])
    selected = block_of(5).select(mask)
    assert selected.residuals[1][:, 0].tolist() == [0, 30, 40]
    assert selected.residuals[X][:, 1].tolist() == [0, -300, -400]
    for name, factor in zip(KEYS, (1, 2, 3, 4, 5)):
        assert getattr(selected, name).tolist() == [0, 3 * factor, 4 * factor]
    assert selected.attended[4].positions[:, 0].tolist() == [0, 3, 4]


def test_the_parts_of_a_block_join_to_the_block_again():
    whole = block_of(9)
    assert_same(ResidualBlock.join([block_of(4), block_of(1, 4), block_of(4, 5)]), whole)
    first = np.arange(9) < 4
    assert_same(ResidualBlock.join([whole.select(first), whole.select(~first)]), whole)
    assert ResidualBlock.join([whole]) is whole


def test_some_layers_of_a_block_are_the_same_tensors_under_the_same_keys():
    whole = block_of(3)
    some = whole.at([X, 1])
    assert some.layers == (1, X)
    assert all(some.residuals[layer] is whole.residuals[layer] for layer in some.layers)
    assert all(getattr(some, name) is getattr(whole, name) for name in KEYS)


def test_norms_are_those_of_the_rows_taken_once_and_never_those_of_other_rows():
    whole = block_of(4)
    expected = np.linalg.norm(whole.residuals[4].numpy(), axis=1)
    np.testing.assert_allclose(whole.norm(4), expected)
    assert whole.norm(4) is whole.norm(4)
    np.testing.assert_allclose(whole.norm(1), 10 * expected)
    np.testing.assert_allclose(whole.select(np.arange(4) > 1).norm(4), expected[2:])


def test_a_block_on_its_device_stays_the_same_object():
    whole = block_of(2)
    assert whole.to("cpu") is whole
    assert whole.to("meta").residuals[1].device.type == "meta"


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_first_value_that_is_not_finite_is_named_by_layer_sequence_and_position(bad):
    block = block_of(6)
    check_finite(block)
    block = block_of(6)  # norms are taken once
    block.residuals[1][3, 1] = block.residuals[1][5, 0] = bad
    with pytest.raises(NonFiniteError, match=r"layer 1 \(sequence 3, position 6\)"):
        check_finite(block)


def test_large_numbers_whose_squares_overflow_are_finite():
    block = block_of(3)
    block.residuals[4][1] = 3e38
    assert torch.isinf(block.norm(4)[1])
    check_finite(block)


def test_one_pass_feeds_each_block_to_every_consumer_and_counts_its_tokens():
    class Watching:
        def __init__(self) -> None:
            self.rows: list[int] = []

        def update(self, block: ResidualBlock) -> None:
            self.rows += block.residuals[1][:, 0].int().tolist()
            assert block.layers == (1,)

    source = MemorySource(
        {1: torch.arange(20)[:, None], 2: torch.zeros(20, 1)}, group=np.arange(20) % 4, n_folds=2, block_rows=6
    )
    consumers, done = [Watching(), Watching()], []
    count = run_pass(source, consumers, layers=[1], splits=["test"], on_block=lambda block: done.append(block.n))
    assert count == sum(done) == 5
    assert consumers[0].rows == consumers[1].rows == [3, 7, 11, 15, 19]


def test_no_consumer_sees_a_block_that_is_not_finite():
    seen = []
    x = torch.zeros(8, 1)
    x[5] = torch.nan
    watching = type("Watching", (), {"update": lambda self, block: seen.append(block.n)})()
    with pytest.raises(NonFiniteError):
        run_pass(MemorySource({1: x}, block_rows=2), [watching])
    assert seen == [2, 2]


def test_every_key_of_a_block_is_selected_and_joined():
    named = {field.name for field in fields(ResidualBlock)}
    assert named == {*KEYS, "residuals", "attended", "_norm"}, "a new field must be carried by select and join"
