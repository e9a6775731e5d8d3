"""Scales on which the error of a score is nearly symmetric and of one size, whatever the score."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

_SMALLEST = 1e-12
"""What is left of a share or of its complement is at least this, so that its logarithm is finite."""


@dataclass(frozen=True)
class Scale:
    """A monotone transformation of scores; NaN stays NaN."""

    name: str
    forward: Callable[[np.ndarray], np.ndarray]
    inverse: Callable[[np.ndarray], np.ndarray]
    slope: Callable[[np.ndarray], np.ndarray]
    """Size of the derivative of ``forward``: what carries a standard error over to the scale."""
    rising: bool = True
    """Whether a larger score is a larger number on the scale."""


def _same(values: np.ndarray) -> np.ndarray:
    return np.asarray(values, dtype=np.float64)


def _log(values: np.ndarray) -> np.ndarray:
    return np.log(np.maximum(values, _SMALLEST))


def _exp(values: np.ndarray) -> np.ndarray:
    return np.exp(np.minimum(values, 700))


def _logit(values: np.ndarray) -> np.ndarray:
    return _log(values) - _log(1 - np.asarray(values))


def _expit(values: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-np.clip(values, -700, 700)))


def _artanh(values: np.ndarray) -> np.ndarray:
    return np.arctanh(np.clip(values, _SMALLEST - 1, 1 - _SMALLEST))


PLAIN = Scale("plain", _same, _same, np.ones_like)
"""Means, differences and ratios that may have either sign."""
UNEXPLAINED = Scale(
    "log(1 - x)", lambda x: _log(1 - np.asarray(x)), lambda g: 1 - _exp(g), lambda x: 1 / (1 - x), False
)
"""r2 and skill: the logarithm of the part that is not explained, which is a ratio of two positive sums."""
RATIO = Scale("log x", _log, _exp, lambda x: 1 / x)
"""Ratios of two positive sums."""
SHARE = Scale("logit x", _logit, _expit, lambda x: 1 / (x * (1 - x)))
"""Numbers between 0 and 1: means of squared correlations, shares, AUROC, F1."""
CORRELATION = Scale("artanh x", _artanh, np.tanh, lambda x: 1 / (1 - np.square(x)))
"""Correlations, of values or of ranks (Fisher, 1921)."""
