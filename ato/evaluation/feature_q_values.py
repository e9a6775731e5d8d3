"""How many of the features called transported, or computed, are expected not to be."""

from dataclasses import replace

import numpy as np

from ato.numerics.false_discovery import benjamini_hochberg
from ato.numerics.intervals import Jackknife


def judged_only(found: Jackknife, value: np.ndarray, judged: np.ndarray) -> Jackknife:
    """The jackknife of r2 [d_sae] with these values; without value or error where a feature is not judged."""
    known = judged & np.isfinite(value)
    return replace(found, value=np.where(known, value, np.nan), error=np.where(known, found.error, np.nan))


def q_values(r2: Jackknife, *, transported_above: float = 0.7, computed_below: float = 0.3) -> dict[str, np.ndarray]:
    """The columns ``q_transported`` and ``q_computed`` [d_sae] of the features of one SAE under one operator.

    q of a feature is the smallest share expected to be wrong of a list of features that holds it (Benjamini and
    Hochberg, 1995). It comes from the one-sided p of "r2 is above ``transported_above``" (or below
    ``computed_below``), from the same t statistic as the interval; NaN without an interval.
    """
    return {
        "q_transported": benjamini_hochberg(r2.p_above(transported_above)),
        "q_computed": benjamini_hochberg(r2.p_below(computed_below)),
    }
