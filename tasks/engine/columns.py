"""Estimates as columns of a table."""

from typing import Any

from ato.numerics.intervals import Estimate, EstimateArray


def estimate_columns(**estimates: Estimate | EstimateArray) -> dict[str, Any]:
    """``name``, ``name_low`` and ``name_high`` of each estimate, under the name it is given by."""
    return {
        f"{name}{end}": number
        for name, estimate in estimates.items()
        for end, number in (("", estimate.value), ("_low", estimate.low), ("_high", estimate.high))
    }
