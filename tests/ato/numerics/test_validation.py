"""Rows are checked at the door: what is let in, and what an error says."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, LayerError, NonFiniteError
from ato.numerics.validation import as_float_tensor, validate_group_numbers, validate_residuals


def test_float_arrays_keep_their_memory_and_others_become_float32():
    x = np.ones((3, 2))
    assert np.shares_memory(as_float_tensor(x).numpy(), x)
    assert as_float_tensor(torch.ones(2, 2, dtype=torch.float16)).dtype == torch.float32
    assert as_float_tensor(np.ones((2, 2), dtype=np.int64)).dtype == torch.float32
    frozen = np.ones((2, 2))
    frozen.flags.writeable = False
    as_float_tensor(frozen)[0, 0] = 5
    assert frozen[0, 0] == 1


def test_rows_of_every_layer_come_back_as_tensors():
    found = validate_residuals({3: np.ones((4, 2)), 1: torch.zeros(4, 5), 9: np.ones(1)}, [1, 3], {})
    assert {layer: tuple(x.shape) for layer, x in found.items()} == {1: (4, 5), 3: (4, 2)}


def test_layers_may_differ_in_length_where_row_numbers_are_given():
    numbers = {0: np.array([2, 0]), 1: np.array([1, 1])}
    found = validate_residuals({0: np.ones((3, 2)), 1: np.ones((2, 2))}, [0, 1], {}, numbers)
    assert [len(x) for x in found.values()] == [3, 2]
    with pytest.raises(InputError, match="from 0 to 1"):
        validate_residuals({0: np.ones((3, 2)), 1: np.ones((2, 2))}, [0, 1], {}, numbers | {1: np.array([0, 2])})


@pytest.mark.parametrize(
    ("residuals", "error", "message"),
    [
        ({0: np.ones((3, 2))}, LayerError, r"\[1\] are missing"),
        ({0: np.ones((3, 2)), 1: np.ones((2, 2))}, InputError, "layer 1"),
        ({0: np.ones((3, 2)), 1: np.ones((3, 4))}, InputError, "layer 1.*3, 2"),
        ({0: np.ones(3), 1: np.ones((3, 2))}, InputError, "layer 0"),
        ({0: np.ones((3, 2)), 1: np.array([[1.0, np.nan]] * 3)}, NonFiniteError, "layer 1"),
        ({0: np.full((3, 2), np.inf), 1: np.ones((3, 2))}, NonFiniteError, "layer 0"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_layer(residuals, error, message):
    with pytest.raises(error, match=message):
        validate_residuals(residuals, [0, 1], {1: 2})


def test_squares_that_overflow_are_finite_all_the_same():
    assert 0 in validate_residuals({0: np.full((2, 2), 1e300)}, [0], {})


def test_one_code_stands_for_all_rows():
    assert validate_group_numbers(2, 3, 4).tolist() == [2, 2, 2]
    assert validate_group_numbers(np.array([0, 3]), 2, 4).tolist() == [0, 3]
    assert validate_group_numbers(np.zeros(0, dtype=int), 0, 4).tolist() == []


@pytest.mark.parametrize("codes", [None, [0, 4], [-1, 0], [0.0, 1.0], [0, 1, 2]])
def test_codes_that_are_no_groups_of_the_rows_are_refused(codes):
    with pytest.raises(InputError, match="group"):
        validate_group_numbers(codes, 2, 4)
