"""Histograms of the activations of every feature, in bins that are the same for all, so that histograms add."""

from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.saes.autoencoder import ActiveFeatures

_LOWEST, _HIGHEST, _PARTS = -12, 16, 4
"""Octaves 2^-12 to 2^16, each in four equal parts."""
_MANTISSA = 23 - 2
"""Bits of a float32 below the first two of its mantissa."""
_FIRST = (_LOWEST + 127) * _PARTS
N_BINS = (_HIGHEST - _LOWEST) * _PARTS + 2
"""Bins: those of the octaves, one below and one above."""


def histogram_edges() -> np.ndarray:
    """[N_BINS + 1] float64 edges: 0, then 2^e x (1, 1.25, 1.5, 1.75) for e = -12 ... 15, then 2^16 and infinity.

    An activation that equals an edge belongs to the bin above it, as in ``numpy.histogram``. Widths grow with the octave,
    between an eighth and a quarter of the value. Every edge is a float32, and the number of a bin is read off the bits of
    the activation: counts are exact and the same everywhere.
    """
    octaves = 2.0 ** np.arange(_LOWEST, _HIGHEST)[:, None]
    inner = (octaves * (1 + np.arange(_PARTS) / _PARTS)).reshape(-1)
    return np.concatenate([[0.0], inner, [2.0**_HIGHEST, np.inf]])


@dataclass(frozen=True)
class HistogramCounts:
    """Activations of every feature."""

    counts: np.ndarray
    """[d_sae, N_BINS] int64; see ``histogram_edges``."""
    n_tokens: int
    """Tokens looked at."""
    n_active: np.ndarray
    """[d_sae] int64."""
    total: np.ndarray
    """[d_sae] float64, sum of the activations."""
    maximum: np.ndarray
    """[d_sae] float64; NaN for a feature that was never active."""


class ActivationHistograms:
    """Accumulates the histograms of every feature.

    Memory is d_sae x ``N_BINS`` numbers (15 MB for 16,384 features), whatever the number of tokens.

    Args:
        d_sae: number of features.
    """

    def __init__(self, d_sae: int):
        self._d_sae, self._n_tokens = d_sae, 0
        self._counts = np.zeros(d_sae * N_BINS, dtype=np.int64)
        self._total, self._maximum = np.zeros(d_sae), np.zeros(d_sae, dtype=np.float32)

    def update(self, active: ActiveFeatures) -> "ActivationHistograms":
        """Take the tokens of a block into account."""
        feature = active.feature.cpu().numpy()
        value = np.ascontiguousarray(active.value.cpu().numpy(), dtype=np.float32)
        self._n_tokens += active.n
        # Positive floats are ordered as their bit patterns are: exponent and first bits of the mantissa number the bin.
        number = (value.view(np.uint32) >> np.uint32(_MANTISSA)).astype(np.int64) - (_FIRST - 1)
        np.add.at(self._counts, feature * N_BINS + np.clip(number, 0, N_BINS - 1), 1)
        self._total += np.bincount(feature, value, minlength=self._d_sae)
        np.maximum.at(self._maximum, feature, value)
        return self

    def __add__(self, other: "ActivationHistograms") -> "ActivationHistograms":
        """The histograms over both streams.

        Raises:
            MismatchError: they are of SAEs of different sizes.
        """
        if self._d_sae != other._d_sae:
            raise MismatchError(
                f"cannot add histograms of {self._d_sae} and {other._d_sae} features", cure="add those of one SAE"
            )
        total = ActivationHistograms(self._d_sae)
        total._n_tokens = self._n_tokens + other._n_tokens
        total._counts = self._counts + other._counts
        total._total = self._total + other._total
        total._maximum = np.maximum(self._maximum, other._maximum)
        return total

    def result(self) -> HistogramCounts:
        """The histograms over all tokens seen."""
        counts = self._counts.reshape(self._d_sae, N_BINS).copy()
        n_active = counts.sum(axis=1)
        maximum = np.where(n_active > 0, self._maximum.astype(np.float64), np.nan)
        return HistogramCounts(counts, self._n_tokens, n_active, self._total.copy(), maximum)
