"""Methods of fitting and the grids of strengths that cross-validation chooses from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import SettingsError

L1_METHODS = ("lasso", "elasticnet")
BASELINES = ("identity", "identity+bias", "mean")
METHODS = ("ridge", "linear", *L1_METHODS, "ridge_to_identity", "rrr", "svd", *BASELINES)

STUDY_ALPHAS = (0.1, 1.0, 10.0, 100.0, 1000.0, 2000.0, 5000.0, 10000.0)
"""The ridge strengths of the study."""
ALPHAS = (0.01, *STUDY_ALPHAS, 1e5, 1e6)
"""Default strengths of ridge, on the sum of squares: the study's, extended on both sides."""
L1_ALPHAS = (0.01, 0.1, 1.0, 10.0, 100.0)
"""Default strengths of lasso and elastic net, on the mean of squares: the study's."""
L1_RATIOS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Default shares of the L1 penalty of elastic net: the study's."""


@dataclass(frozen=True)
class Strengths:
    """Grid points to try, in the order of scikit-learn's ``ParameterGrid``: l1_ratio changes fastest."""

    alphas: np.ndarray
    """[g]; empty for the baselines, 0 for ``linear``."""
    l1_ratios: np.ndarray | None = None
    """[g] for lasso and elastic net."""

    def __len__(self) -> int:
        return len(self.alphas)

    def at_edge(self, point: int) -> bool:
        """The alpha of a grid point is the smallest or the largest of several: extend the grid."""
        low, high = self.alphas.min(), self.alphas.max()
        return bool(low < high and self.alphas[point] in (low, high))


def strengths_of(
    method: str, alphas: Sequence[float] | None = None, l1_ratios: Sequence[float] | None = None
) -> Strengths:
    """The grid of a method.

    Args:
        method: one of ``METHODS``.
        alphas: strengths, default ``ALPHAS`` or ``L1_ALPHAS``; not looked at for the baselines and ``linear``.
        l1_ratios: for ``elasticnet``, default ``L1_RATIOS``; ``lasso`` is the ratio 1.

    Raises:
        SettingsError: unknown method, impossible strengths, or ratios for a method that has none.
    """
    if method not in METHODS:
        raise SettingsError(f"unknown method {method!r}", cure=f"choose from {list(METHODS)}")
    if l1_ratios is not None and method != "elasticnet":
        raise SettingsError(f"l1_ratios have no effect on {method}", cure="choose elasticnet")
    if method in BASELINES:
        return Strengths(np.zeros(0))
    if method == "linear":
        return Strengths(np.zeros(1))
    sparse = method in L1_METHODS
    default = L1_ALPHAS if sparse else ALPHAS
    strengths = np.atleast_1d(np.asarray(default if alphas is None else alphas, dtype=np.float64))
    if strengths.ndim != 1 or not len(strengths) or not np.isfinite(strengths).all() or strengths.min() < 0:
        raise SettingsError("alphas must be non-negative numbers, at least one", where=f"alphas={alphas}")
    if not sparse:
        return Strengths(strengths)
    if strengths.min() == 0:
        raise SettingsError(
            f"{method} needs alphas above 0", where=f"alphas={alphas}", cure="choose linear for alpha 0"
        )
    ratios = np.ones(1) if method == "lasso" else np.asarray(L1_RATIOS if l1_ratios is None else l1_ratios, np.float64)
    if ratios.ndim != 1 or not len(ratios) or not ((ratios > 0) & (ratios <= 1)).all():
        cure = "use shares above 0 and at most 1; a share of 0 is ridge"
        raise SettingsError("l1_ratios must be between 0 and 1", where=f"l1_ratios={l1_ratios}", cure=cure)
    return Strengths(np.repeat(strengths, len(ratios)), np.tile(ratios, len(strengths)))
