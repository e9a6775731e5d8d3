"""Some items of many, evenly spaced."""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np

Item = TypeVar("Item")


def evenly_spaced(items: Sequence[Item], n: int) -> list[Item]:
    """``n`` items evenly spaced over a sequence (all of them if there are no more)."""
    chosen = np.unique(np.linspace(0, len(items) - 1, min(n, len(items))).round().astype(int))
    return [items[i] for i in chosen]
