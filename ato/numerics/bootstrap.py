"""Sums per document, and the 95 % intervals that resampling documents gives.

Tokens of one document are correlated, so a bootstrap over tokens gives intervals that are far too narrow. Every
score here is a function of sums over documents; resampling documents is then a product of multinomial weights
with those sums, and no token is touched twice.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from ato.errors import InputError

LEVEL = 0.95
"""Coverage of every interval."""

_CHUNK_NUMBERS = 4_000_000
"""Numbers a chunk of resamples may hold at once (32 MB in float64)."""


@dataclass(frozen=True)
class Bootstrap:
    """How an interval is made: the number of resamples, and the seed of their draws."""

    n_resamples: int = 1000
    seed: int = 0


@dataclass(frozen=True)
class Estimate:
    """A number with its 95 % interval; None where it cannot be told, as with one document."""

    value: float | None
    low: float | None = None
    high: float | None = None


def resampled_sums(statistics: Mapping[str, np.ndarray], n_boot: int, seed: int) -> Iterator[dict[str, np.ndarray]]:
    """Sums [b, ...] over documents drawn with replacement, in chunks of b resamples that bound the memory.

    Args:
        statistics: name -> [documents, ...] sums per document.
        n_boot: number of resamples in all.
        seed: of the draws; the chunks change nothing.
    """
    n_documents = len(next(iter(statistics.values())))
    flat = {name: values.reshape(n_documents, -1) for name, values in statistics.items()}
    width = 2 * n_documents + sum(values.shape[1] for values in flat.values())
    chunk = max(1, _CHUNK_NUMBERS // max(width, 1))
    rng = np.random.default_rng(seed)
    for start in range(0, n_boot, chunk):
        b = min(chunk, n_boot - start)
        drawn = rng.integers(n_documents, size=(b, n_documents)) + np.arange(b)[:, None] * n_documents
        weights = np.bincount(drawn.ravel(), minlength=b * n_documents).reshape(b, n_documents).astype(np.float64)
        yield {name: (weights @ values).reshape(b, *statistics[name].shape[1:]) for name, values in flat.items()}


def document_bootstrap(
    statistics: np.ndarray | Mapping[str, np.ndarray],
    estimator: Callable[..., np.ndarray],
    n_boot: int = 1000,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray] | tuple[None, None]:
    """Percentile interval (95 %) of an estimate that is a function of sums over documents.

    Documents are drawn with replacement (multinomial weights) and the estimate is made from the weighted sums;
    the limits are the 2.5th and 97.5th percentile of the estimates, widened where needed to hold the estimate from
    all documents, since resampling adds to the bias that an estimator has. Resamples in which an estimate is not
    finite (no variance left) are left out of its limits.

    Args:
        statistics: [documents, ...] sums per document, or a mapping of names to such arrays.
        estimator: takes what ``statistics`` is, with resamples [b, ...] in place of documents, and returns
            estimates [b, ...].
        n_boot: number of resamples.
        seed: of the draws; equal seeds give equal limits.

    Returns:
        (low, high), each of the shape of one estimate, NaN where no resample gave one; (None, None) with fewer
        than two documents, since one document says nothing about the spread between documents.

    Raises:
        InputError: fewer than 40 resamples, from which no 2.5th percentile can be read.
    """
    if n_boot < 40:
        raise InputError(f"{n_boot} resamples are too few for a 95 % interval", cure="use at least 40 (default: 1000)")
    single = not isinstance(statistics, Mapping)
    named = {"": np.asarray(statistics)} if single else statistics
    named = {name: np.asarray(values, dtype=np.float64) for name, values in named.items()}  # type: ignore[union-attr]
    if len(next(iter(named.values()))) < 2:
        return None, None
    estimates = np.concatenate(
        [np.asarray(estimator(sums[""] if single else sums)) for sums in resampled_sums(named, n_boot, seed)]
    )
    low, high = percentile_limits(estimates)
    total = {name: values.sum(0, keepdims=True) for name, values in named.items()}
    point = np.asarray(estimator(total[""] if single else total))[0]
    known = np.isfinite(point)
    return np.where(known, np.minimum(low, point), low), np.where(known, np.maximum(high, point), high)


def percentile_limits(estimates: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Lower and upper 95 % limit over the first axis of estimates [b, ...]; values that are not finite are left out."""
    # Sorting rows that lie together in memory is ten times as fast as np.quantile over the first axis.
    ordered = np.array(estimates.reshape(len(estimates), -1).T, dtype=np.float64, order="C")
    ordered[~np.isfinite(ordered)] = np.nan
    ordered.sort(axis=1)  # NaN last
    last = np.isfinite(ordered).sum(1) - 1
    rows, limits = np.arange(len(ordered)), []
    for probability in ((1 - LEVEL) / 2, (1 + LEVEL) / 2):
        place = probability * np.maximum(last, 0)
        below = place.astype(np.int64)
        left, right = ordered[rows, below], ordered[rows, np.minimum(below + 1, np.maximum(last, 0))]
        limits.append((left + (right - left) * (place - below)).reshape(estimates.shape[1:]))
    return limits[0], limits[1]


def number_or_none(value: float) -> float | None:
    """A float, or None (NULL in a table) where it is not finite."""
    return float(value) if np.isfinite(value) else None
