"""Changes of the same entities under an intervention: their mean with an interval, and against random interventions."""

from dataclasses import dataclass

import numpy as np

from ato.numerics.bootstrap import DEFAULT_BOOTSTRAP, Bootstrap, Estimate, document_bootstrap


@dataclass(frozen=True)
class _Sums:
    n: np.ndarray
    total: np.ndarray


def mean_change(changes: np.ndarray, bootstrap: Bootstrap = DEFAULT_BOOTSTRAP) -> Estimate:
    """Mean of paired changes with its percentile interval (95 %) from resampling entities.

    Args:
        changes: [n], one an entity; their order changes nothing.
        bootstrap: number of resamples and seed.

    Returns:
        Nothing without an entity, and no limits with one.
    """
    if not len(changes):
        return Estimate(None)
    ordered = np.sort(np.asarray(changes, dtype=np.float64))
    sums = _Sums(np.ones(len(ordered)), ordered)
    return document_bootstrap(sums, lambda of: of.total / of.n, bootstrap).item()


def control_p(change: float, controls: np.ndarray) -> float:
    """p that a random intervention changes as much, in size: (1 + controls with |change| at least as large) / (1 + n).

    It cannot be below 1 / (1 + n): with 20 controls 0.048 (Davison and Hinkley, 1997). NaN without controls.
    """
    controls = np.abs(np.asarray(controls, dtype=np.float64))
    if not len(controls):
        return float("nan")
    return float((1 + (controls >= abs(change) - 1e-12).sum()) / (1 + len(controls)))
