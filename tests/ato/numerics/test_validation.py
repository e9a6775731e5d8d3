"""Rows and group numbers are taken as they come where they fit, and refused by name where they do not."""

import numpy as np
import pytest
import torch

from ato.errors import InputError, LayerError, NonFiniteError
from ato.numerics.validation import as_float_tensor, validate_group_numbers, validate_residuals


def test_floats_share_their_memory_and_anything_else_becomes_float32():
    for dtype in (np.float32, np.float64):
        array = np.ones((2, 3), dtype=dtype)
        assert as_float_tensor(array).numpy().base is array or np.shares_memory(as_float_tensor(array).numpy(), array)
    for other in (np.ones((2, 3), np.int64), np.ones((2, 3), np.float16), torch.ones(2, 3, dtype=torch.bfloat16)):
        assert as_float_tensor(other).dtype == torch.float32
    assert not as_float_tensor(torch.ones(2, requires_grad=True)).requires_grad


def test_memory_that_may_not_be_written_is_copied_and_turned_arrays_are_laid_straight():
    array = np.arange(6.0).reshape(2, 3)
    array.flags.writeable = False
    assert not np.shares_memory(as_float_tensor(array).numpy(), array)
    turned = np.arange(6.0).reshape(2, 3).T
    assert as_float_tensor(turned).is_contiguous()
    np.testing.assert_array_equal(as_float_tensor(turned), turned)


def test_the_layers_asked_for_come_back_as_tensors():
    residuals = {1: np.ones((4, 2)), "x": np.zeros((4, 3), np.int32), 9: np.full((1, 1), np.nan)}
    found = validate_residuals(residuals, [1, "x"], {1: 2})
    assert list(found) == [1, "x"]
    assert [tuple(x.shape) for x in found.values()] == [(4, 2), (4, 3)]
    assert validate_residuals({1: np.zeros((0, 2))}, [1], {})[1].shape == (0, 2)


def test_what_does_not_fit_is_named_by_its_layer():
    x = np.ones((4, 2))
    with pytest.raises(LayerError, match=r"layers \[3\] are missing.*given \[1\]"):
        validate_residuals({1: x}, [1, 3], {})
    for other in (np.ones((5, 2)), np.ones(4), np.ones((4, 2, 1)), np.float64(1)):
        with pytest.raises(InputError, match=r"layer 2\): pass \[4, d\]"):
            validate_residuals({1: x, 2: other}, [1, 2], {})
    with pytest.raises(InputError, match=r"shape \(4, 2\) \(layer 1\): pass \[4, 7\]"):
        validate_residuals({1: x}, [1], {1: 7})


def test_row_numbers_may_repeat_but_neither_exceed_the_rows_nor_differ_in_number():
    residuals = {1: np.ones((4, 2)), 2: np.ones((9, 2))}
    rows = {1: np.array([3, 3, 0]), 2: np.array([8, 0, 1])}
    assert [len(x) for x in validate_residuals(residuals, [1, 2], {}, rows).values()] == [4, 9]
    for wrong in ({1: np.array([4, 0, 0])}, {1: np.array([-1, 0, 0])}):
        with pytest.raises(InputError, match="indices from 0 to 3"):
            validate_residuals(residuals, [1, 2], {}, rows | wrong)
    with pytest.raises(InputError):
        validate_residuals(residuals, [1, 2], {}, {1: rows[1]})  # 3 rows of the one, 9 of the other


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_named_by_its_layer_and_large_ones_pass(bad):
    large = np.full((3, 2), 1e200)  # squares overflow
    validate_residuals({1: large}, [1], {})
    spoiled = large.copy()
    spoiled[2, 1] = bad
    with pytest.raises(NonFiniteError, match="layer 7"):
        validate_residuals({1: large, 7: spoiled}, [1, 7], {})


def test_one_number_stands_for_all_rows():
    assert validate_group_numbers(2, 3, 5).tolist() == [2, 2, 2]
    codes = np.array([0, 4, 1], dtype=np.int16)
    assert validate_group_numbers(codes, 3, 5) is codes
    assert len(validate_group_numbers(np.zeros(0, int), 0, 5)) == 0


@pytest.mark.parametrize("codes", [[0, 5, 0], [-1, 0, 0], [0.0, 1.0, 2.0], [0, 1], [[0, 1, 2]], 5, "two"])
def test_numbers_of_no_group_are_refused(codes):
    with pytest.raises(InputError, match=r"\[3\] integers from 0 to 4"):
        validate_group_numbers(codes, 3, 5)


def test_missing_numbers_are_asked_for():
    with pytest.raises(InputError, match="pass group=, or fold="):
        validate_group_numbers(None, 3, 5)
