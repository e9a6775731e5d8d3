"""Values derived from statistics, kept while the statistics stay as they are: factorisations shared by many fits."""

from collections import OrderedDict
from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, Protocol, TypeVar
from weakref import WeakKeyDictionary

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Versioned(Protocol):
    """Statistics that values are derived from."""

    version: int
    """Another number after every change."""


class Memo(Generic[Key, Value]):
    """The most recently made values of one kind, for each owner by key.

    They are forgotten when the owner changes or is no more; so a value must not refer to its owner. Two threads may
    make one twice; neither sees a wrong one.

    Args:
        capacity: values kept for an owner; each may hold several matrices.
    """

    def __init__(self, capacity: int):
        self._capacity, self._lock = capacity, Lock()
        self._kept: WeakKeyDictionary[Versioned, tuple[int, OrderedDict[Key, Value]]] = WeakKeyDictionary()

    def get(self, owner: Versioned, key: Key, make: Callable[[], Value]) -> Value:
        """The value kept under the key, or ``make()``, which is then kept in place of the oldest."""
        values = self._values_of(owner)
        try:
            return values[key]
        except KeyError:
            value = make()
        with self._lock:
            values[key] = value
            while len(values) > self._capacity:
                values.popitem(last=False)
        return value

    def _values_of(self, owner: Versioned) -> OrderedDict[Key, Value]:
        with self._lock:
            version, values = self._kept.get(owner, (None, OrderedDict()))
            if version != owner.version:
                values = OrderedDict()
                self._kept[owner] = owner.version, values
            return values
