"""Values derived from statistics, kept while the statistics stay as they are: factorisations shared by many fits."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Any, TypeVar

CAPACITY = 4
"""Values kept at a time; each may hold several matrices a fold."""

Value = TypeVar("Value")


class Derived:
    """The most recently made values, by key. Two threads may make one twice; neither sees a wrong one."""

    def __init__(self) -> None:
        self._values: OrderedDict[Hashable, Any] = OrderedDict()

    def get(self, key: Hashable, make: Callable[[], Value]) -> Value:
        """The value kept under the key, or ``make()``, which is then kept in place of the oldest."""
        try:
            return self._values[key]
        except KeyError:
            value = self._values[key] = make()
        while len(self._values) > CAPACITY:
            self._values.popitem(last=False)
        return value

    def clear(self) -> None:
        """Forget everything."""
        self._values.clear()
