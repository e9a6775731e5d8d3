"""Which features to label first, so that a small budget goes where it matters, and how much of the effect it covers."""

from collections.abc import Sequence

import numpy as np

from ato.errors import InputError

VERDICT_ORDER = ("computed", "undetermined", "transported")
"""Features that a layer computes come before those that it receives, which the layer before may explain."""


def order_by_size(sizes: np.ndarray, feature_ids: np.ndarray | None = None) -> np.ndarray:
    """Features by the size of a number, the largest first: causal effects or attributions of either sign.

    Args:
        sizes: [n] float; NaN where it is not known.
        feature_ids: [n] int; None counts from 0.

    Returns:
        [n] int64 indices into the arrays: by |size| downwards, then those not known; equal ones by feature id.

    Raises:
        InputError: the arrays are not of one length.
    """
    sizes = np.abs(np.asarray(sizes, dtype=np.float64))
    return _ordered(np.where(np.isnan(sizes), np.inf, -sizes), feature_ids)


def order_by_verdict(
    verdicts: Sequence[str | None],
    feature_ids: np.ndarray | None = None,
    first: Sequence[str] = VERDICT_ORDER,
) -> np.ndarray:
    """Features by their transport verdict.

    Args:
        verdicts: [n], None where there is none.
        feature_ids: [n] int; None counts from 0.
        first: verdicts in their order; features with another one, or none, come last.

    Returns:
        [n] int64 indices; equal ones by feature id.
    """
    rank = {verdict: place for place, verdict in enumerate(first)}
    return _ordered(np.array([rank.get(v or "", len(rank)) for v in verdicts], dtype=np.float64), feature_ids)


def coverage(effects: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Share of the total effect that the first features of an order have: [n] float64, rising to 1.

    Args:
        effects: [n] causal effects or attributions, of which the sizes are added; NaN counts as nothing.
        order: [n] indices, each once.

    Returns:
        Entry i is that of the first i + 1 features; NaN where no feature has an effect.

    Raises:
        InputError: the order does not hold every index once.
    """
    sizes = np.nan_to_num(np.abs(np.asarray(effects, dtype=np.float64)))
    order = np.asarray(order, dtype=np.int64)
    if not np.array_equal(np.sort(order), np.arange(len(sizes))):
        raise InputError(f"an order of {len(order)} places for {len(sizes)} features", cure="name every feature once")
    total = sizes.sum()
    with np.errstate(invalid="ignore"):
        found: np.ndarray = np.cumsum(sizes[order]) / (total if total > 0 else np.nan)
    return np.minimum(found, 1.0)


def _ordered(keys: np.ndarray, feature_ids: np.ndarray | None) -> np.ndarray:
    ids = np.arange(len(keys)) if feature_ids is None else np.asarray(feature_ids)
    if ids.shape != keys.shape:
        raise InputError(f"{len(keys)} values and {len(ids)} feature ids", cure="pass one for each feature")
    return np.lexsort((ids, keys))
