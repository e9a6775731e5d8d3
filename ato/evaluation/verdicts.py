"""The verdict on a feature: carried linearly, computed in between, or not decided by the data."""

import numpy as np

from ato.errors import SettingsError
from ato.numerics.intervals import EstimateArray

TRANSPORTED, COMPUTED, UNDETERMINED = "transported", "computed", "undetermined"


def verdicts(r2: EstimateArray, *, transported_above: float = 0.7, computed_below: float = 0.3) -> np.ndarray:
    """Verdicts [n] from the interval of r2, never from the point estimate.

    ``transported`` where the whole interval lies at or above ``transported_above``, ``computed`` where it lies at
    or below ``computed_below``, else ``undetermined``; so too where there is no interval (NaN).

    Args:
        r2: of n features.

    Raises:
        SettingsError: the thresholds are not in order.
    """
    if not computed_below < transported_above <= 1:
        raise SettingsError(
            f"computed_below = {computed_below} and transported_above = {transported_above} are not in order",
            cure="choose computed_below < transported_above <= 1",
        )
    known = np.isfinite(r2.low) & np.isfinite(r2.high)
    return np.select(
        [known & (r2.low >= transported_above), known & (r2.high <= computed_below)],
        [TRANSPORTED, COMPUTED],
        default=UNDETERMINED,
    )
