"""Whether two judges classify features alike: Cohen's kappa and the share of equal values, with intervals (95 %)."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.autointerp.label_spaces import LabelSpace
from ato.autointerp.scores import wilson
from ato.errors import InputError
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.scales import CORRELATION


@dataclass(frozen=True)
class Agreement:
    """Of two judges on one property."""

    n: int
    """Features that both gave a value."""
    n_missing: int
    """Features that only one of them gave a value."""
    share: Estimate
    """Of equal values among the n; Wilson's interval."""
    kappa: Estimate
    """Agreement beyond chance (Cohen, 1960), by leaving out a feature at a time; None where chance alone is agreement."""


@dataclass(frozen=True)
class _Counts:
    pairs: np.ndarray
    """[n, k, k], 1 at the values of the first and second judge."""


def agreement(first: Sequence[str | None], second: Sequence[str | None]) -> Agreement:
    """Agreement of two judges' values of the same features.

    kappa = (p - e) / (1 - e), with p the share of equal values and e that expected from how often either judge gives
    each value. Where all values are equal, leaving one out changes nothing: the lower limit of kappa is then that of
    Wilson's for p, with the same e.

    Args:
        first: [n] values, None where there is none.
        second: likewise; features that either lacks do not count.

    Raises:
        InputError: there are not as many of both.
    """
    if len(first) != len(second):
        raise InputError(f"{len(first)} values and {len(second)}", cure="pass the same features' values of both judges")
    pairs = sorted((a, b) for a, b in zip(first, second) if a is not None and b is not None)
    missing = sum((a is None) != (b is None) for a, b in zip(first, second))
    share = wilson(sum(a == b for a, b in pairs), len(pairs))
    if not pairs:
        return Agreement(0, missing, share, Estimate(None))
    names = sorted({name for pair in pairs for name in pair})
    code = np.array([[names.index(a), names.index(b)] for a, b in pairs])
    counts = np.zeros((len(pairs), len(names), len(names)))
    counts[np.arange(len(pairs)), code[:, 0], code[:, 1]] = 1
    kappa = document_interval(_Counts(counts), _kappa, np.ones(len(pairs)), CORRELATION).item()
    if kappa.value is not None and share.value == 1 and share.low is not None:
        expected = float(_expected(counts.sum(0)[None])[0])
        kappa = Estimate(kappa.value, (share.low - expected) / (1 - expected), 1.0)
    return Agreement(len(pairs), missing, share, kappa)


def agreement_by_property(
    first: Sequence[dict[str, str | None]], second: Sequence[dict[str, str | None]], space: LabelSpace
) -> dict[str, Agreement]:
    """Agreement on each property of a label space.

    Args:
        first: of n features, property -> value.
        second: of the same features.
        space: names the properties.
    """
    return {
        of.name: agreement([row.get(of.name) for row in first], [row.get(of.name) for row in second])
        for of in space.properties
    }


def _kappa(counts: _Counts) -> np.ndarray:
    """[b] from confusion counts [b, k, k]; NaN where all agreement is by chance."""
    pairs = counts.pairs
    observed = np.trace(pairs, axis1=1, axis2=2) / pairs.sum((1, 2))
    expected = _expected(pairs)
    certain = expected >= 1 - 1e-12
    return np.where(certain, np.nan, (observed - expected) / np.where(certain, 1, 1 - expected))


def _expected(pairs: np.ndarray) -> np.ndarray:
    found: np.ndarray = (pairs.sum(1) * pairs.sum(2)).sum(1) / np.square(pairs.sum((1, 2)))
    return found
