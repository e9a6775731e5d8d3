"""Changes of the same entities under an intervention: their mean with an interval, and against random interventions."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.intervals import Estimate, document_interval


@dataclass(frozen=True)
class _Sums:
    n: np.ndarray
    total: np.ndarray


def mean_change(changes: np.ndarray) -> Estimate:
    """Mean of paired changes with its interval (95 %) by entity.

    Args:
        changes: [n], one an entity; their order changes nothing.

    Returns:
        Nothing without an entity, and no limits with fewer than ``MIN_DOCUMENTS``.
    """
    if not len(changes):
        return Estimate(None)
    ordered = np.sort(np.asarray(changes, dtype=np.float64))
    sums = _Sums(np.ones(len(ordered)), ordered)
    return document_interval(sums, lambda of: of.total / of.n, sums.n).item()


def control_p(change: float, controls: np.ndarray) -> float:
    """p that a random intervention changes as much, in size: (1 + controls with |change| at least as large) / (1 + n).

    It cannot be below 1 / (1 + n): with 20 controls 0.048 (Davison and Hinkley, 1997). NaN without controls.
    """
    controls = np.abs(np.asarray(controls, dtype=np.float64))
    if not len(controls):
        return float("nan")
    return float((1 + (controls >= abs(change) - 1e-12).sum()) / (1 + len(controls)))
