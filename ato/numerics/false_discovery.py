"""Many tests at once: the share of those called true that is expected to be false."""

import numpy as np


def benjamini_hochberg(p: np.ndarray) -> np.ndarray:
    """q of each p [...]: the smallest false discovery rate at which it is found (Benjamini and Hochberg, 1995).

    NaN stays NaN, and does not count as a test.
    """
    flat = np.asarray(p, dtype=np.float64).reshape(-1)
    q = np.full(len(flat), np.nan)
    tested = np.flatnonzero(~np.isnan(flat))
    order = tested[np.argsort(flat[tested], kind="stable")]
    steps = flat[order] * len(order) / np.arange(1, len(order) + 1)
    q[order] = np.minimum(np.minimum.accumulate(steps[::-1])[::-1], 1.0)
    return q.reshape(np.shape(p))
