"""Dataclasses of arrays are taken apart and put together again, whatever they hold."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.sums import arrays_of, map_arrays, total


@dataclass(frozen=True)
class Inner:
    x: np.ndarray


@dataclass(frozen=True)
class Outer:
    a: np.ndarray
    left_out: np.ndarray | None
    parts: tuple[Inner, ...]


OUTER = Outer(np.arange(3.0), None, (Inner(np.ones((3, 2))), Inner(np.full(3, 5.0))))


def test_arrays_come_in_the_order_of_the_fields():
    assert [array.shape for array in arrays_of(OUTER)] == [(3,), (3, 2), (3,)]
    assert [array.shape for array in arrays_of(np.ones(4))] == [(4,)]


def test_a_mapped_dataclass_keeps_its_types_and_what_is_left_out():
    doubled = map_arrays(lambda array: 2 * array, OUTER)
    assert isinstance(doubled, Outer)
    assert isinstance(doubled.parts[1], Inner)
    assert doubled.left_out is None
    np.testing.assert_array_equal(doubled.parts[1].x, 10)
    np.testing.assert_array_equal(OUTER.parts[1].x, 5)


def test_the_total_keeps_an_axis_of_one():
    found = total(OUTER)
    assert found.a.tolist() == [3.0]
    assert found.parts[0].x.tolist() == [[3.0, 3.0]]
