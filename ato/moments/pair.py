"""The moments of one layer pair pooled over chosen tokens: what solvers and ceilings read."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class PairMoments:
    """Moments of one (source, target) pair over some groups of tokens.

    The scatters are centred sums, not divided by n: ``sxx = sum (x - mean_x)(x - mean_x)'``, float64.
    """

    n: int
    mean_x: np.ndarray
    """[d_in]"""
    mean_y: np.ndarray
    """[d_out]"""
    sxx: np.ndarray
    """[d_in, d_in]"""
    sxy: np.ndarray
    """[d_in, d_out]"""
    syy: np.ndarray
    """[d_out, d_out]"""
    epsilon: float = float(np.finfo(np.float64).eps)
    """Relative rounding of the products behind the scatters: that of float32 or of float64."""
