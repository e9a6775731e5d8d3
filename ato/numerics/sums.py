"""Sums that belong together: a frozen dataclass of arrays, of which all have the same first axis.

A field may also be None, another such dataclass, or a tuple of them. An array alone will do too.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

Sums = TypeVar("Sums")


def arrays_of(sums: Any) -> Iterator[np.ndarray]:
    """The arrays of some sums, in the order of the fields."""
    if isinstance(sums, np.ndarray):
        yield sums
    elif sums is not None:
        for part in sums if isinstance(sums, tuple) else (getattr(sums, field.name) for field in fields(sums)):
            yield from arrays_of(part)


def map_arrays(function: Callable[[np.ndarray], np.ndarray], sums: Sums) -> Sums:
    """The same dataclass with each of its arrays replaced by what a function makes of it."""

    def mapped(part: Any) -> Any:
        if part is None or isinstance(part, np.ndarray):
            return None if part is None else function(part)
        if isinstance(part, tuple):
            return tuple(map(mapped, part))
        return type(part)(**{field.name: mapped(getattr(part, field.name)) for field in fields(part)})

    return mapped(sums)


def total(sums: Sums) -> Sums:
    """The sums over the whole first axis, which stays as an axis of one."""
    return map_arrays(lambda array: array.sum(0, keepdims=True), sums)
