"""Ratios of which some have nothing below the line."""

import numpy as np
from numpy.typing import ArrayLike


def ratio(above: ArrayLike, below: ArrayLike) -> np.ndarray:
    """``above / below`` as float64, broadcast; NaN where ``below`` is not above 0."""
    shape = np.broadcast_shapes(np.shape(above), np.shape(below))
    return np.divide(above, below, out=np.full(shape, np.nan), where=np.greater(below, 0))
