"""Grids of regularisation strengths, which cross-validation chooses from."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import SettingsError
from ato.operators.methods import method_named, takers_of


@dataclass(frozen=True)
class Strength:
    """One point of a grid."""

    alpha: float | None = None
    """None for methods without a penalty."""
    l1_ratio: float | None = None
    """Share of the L1 penalty; None for methods without one."""


@dataclass(frozen=True)
class Strengths:
    """Grid points to try, in the order of scikit-learn's ``ParameterGrid``: l1_ratio changes fastest."""

    alphas: np.ndarray
    """[g]; empty for methods without a penalty, 0 for ``linear``."""
    l1_ratios: np.ndarray | None = None
    """[g] for lasso and elastic net."""

    def __len__(self) -> int:
        return len(self.alphas)

    def __getitem__(self, point: int) -> Strength:
        ratio = None if self.l1_ratios is None else float(self.l1_ratios[point])
        return Strength(float(self.alphas[point]), ratio)

    def __iter__(self) -> Iterator[Strength]:
        return (self[point] for point in range(len(self)))

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
        alphas: strengths; default: the method's. Not looked at for a method that chooses none.
        l1_ratios: shares of the L1 penalty; default: the method's.

    Raises:
        SettingsError: unknown method, impossible strengths, or ratios for a method that has none to choose.
    """
    kind = method_named(method)
    if l1_ratios is not None and "l1_ratios" not in kind.parameters:
        raise SettingsError(f"l1_ratios have no effect on {method}", cure=f"choose {takers_of('l1_ratios')}")
    if kind.penalised is None:
        return Strengths(np.array(kind.alphas, dtype=np.float64))
    strengths = np.atleast_1d(np.asarray(kind.alphas if alphas is None else alphas, dtype=np.float64))
    if strengths.ndim != 1 or not len(strengths) or not np.isfinite(strengths).all() or strengths.min() < 0:
        raise SettingsError("alphas must be non-negative numbers, at least one", where=f"alphas={alphas}")
    if not kind.l1_ratios:
        return Strengths(strengths)
    if strengths.min() == 0:
        raise SettingsError(
            f"{method} needs alphas above 0", where=f"alphas={alphas}", cure="choose linear for alpha 0"
        )
    ratios = np.asarray(kind.l1_ratios if l1_ratios is None else l1_ratios, np.float64)
    if ratios.ndim != 1 or not len(ratios) or not ((ratios > 0) & (ratios <= 1)).all():
        cure = "use shares above 0 and at most 1; a share of 0 is ridge"
        raise SettingsError("l1_ratios must be between 0 and 1", where=f"l1_ratios={l1_ratios}", cure=cure)
    return Strengths(np.repeat(strengths, len(ratios)), np.tile(ratios, len(strengths)))
