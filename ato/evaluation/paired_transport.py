"""How the transport of features differs between two models that read the same documents."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.evaluation.feature_scores import R2Sums, r2
from ato.evaluation.feature_transport import FeatureTransport
from ato.numerics.false_discovery import benjamini_hochberg
from ato.numerics.intervals import Estimate, EstimateArray, Jackknife, from_left_out, left_out
from ato.numerics.scales import PLAIN
from ato.numerics.sums import total


@dataclass(frozen=True)
class PairedTransport:
    """Differences of r2 between two models, [d_sae] each; NaN where a feature is not scored in both."""

    difference: EstimateArray
    """r2 of the other model's operator on its own residuals, less that of this model's on its own."""
    p: np.ndarray
    """Two-sided p of no difference."""
    q: np.ndarray
    """Its false discovery rate over the features, see ``benjamini_hochberg``."""
    loss: EstimateArray
    """On the other model's residuals: r2 of its own operator less that of this model's operator."""
    mean_difference: Estimate
    """Mean of the difference over the features scored in both, each document left out of all of them at once."""
    mean_loss: Estimate
    n_features: int
    """Features scored in both."""
    n_documents: int
    """Documents (above 256: groups of them) with an active token of one of these."""

    def changed(self, *, false_discovery: float, smallest: float) -> np.ndarray:
        """[d_sae] bool: features whose difference is at least so large, at this false discovery rate."""
        with np.errstate(invalid="ignore"):
            found: np.ndarray = (self.q <= false_discovery) & (np.abs(self.difference.value) >= smallest)
        return found


@dataclass(frozen=True)
class _Both:
    """Sums by group of documents, of both models' tokens."""

    this: R2Sums
    other: R2Sums


def paired_transport(
    this: FeatureTransport,
    other: FeatureTransport,
    *,
    operators: tuple[str, str, str],
    min_active: int = 30,
) -> PairedTransport:
    """Compare two passes over the same documents, one in each model; documents must have the same numbers in both.

    A feature counts as active where the one SAE that judges both has it active, in each model by itself. The interval
    leaves out a document of both models at once, so that what documents share cancels.

    Args:
        this: scores in this model.
        other: scores in the other.
        operators: names of this model's operator in ``this``, the other's own in ``other``, and this one's in ``other``.
        min_active: active tokens in each model below which a feature is not scored.

    Raises:
        MismatchError: the passes are of different SAEs, or lack one of the operators.
    """
    if this.sae_hash != other.sae_hash:
        raise MismatchError("two models are compared by the same SAE")
    rows = [of.row(name) for of, name in zip((this, other, other), operators, strict=True)]
    found: list[Jackknife] = []
    values, without, counted = np.zeros(2), np.zeros(2), np.zeros(0)
    n_features = 0
    for sums in _chunks(this, other, rows):
        judged = np.minimum(sums.this.n.sum(0), sums.other.n.sum(0)) >= max(min_active, 2)
        value = _differences(total(sums))[0]  # [2, features]
        left = np.concatenate([np.empty((0, *value.shape)), *map(_differences, left_out(sums))])
        known = judged & np.isfinite(value).all(0)
        tokens = sums.this.n + sums.other.n
        found.append(
            from_left_out(np.where(known, value, np.nan), left, np.broadcast_to(tokens[:, None], left.shape), PLAIN)
        )
        n_features += int(known.sum())
        kept = np.where(np.isfinite(left), left, value)[..., known]
        values, without = values + value[:, known].sum(1), without + kept.sum(2)
        counted = counted + tokens[:, known].sum(1) if len(counted) else tokens[:, known].sum(1)
    value, centre, error, freedom = (
        np.concatenate([getattr(part, name) for part in found], axis=1)
        for name in ("value", "centre", "error", "freedom")
    )
    joined = Jackknife(value, centre, error, freedom, PLAIN)
    intervals = joined.interval()
    p = 2 * np.minimum(joined.p_above(0), joined.p_below(0))[0]
    means = _means(values, without, counted, n_features)
    return PairedTransport(
        difference=_row(intervals, 0),
        p=p,
        q=benjamini_hochberg(p),
        loss=_row(intervals, 1),
        mean_difference=means[0],
        mean_loss=means[1],
        n_features=n_features,
        n_documents=int((counted > 0).sum()),
    )


def _chunks(this: FeatureTransport, other: FeatureTransport, rows: list[int]) -> Iterator[_Both]:
    """Sums of some features at a time; of each operator an axis of its own."""
    for one, two in zip(this.group_sums(), other.group_sums(), strict=True):
        yield _Both(
            R2Sums(one.n, one.a, one.aa, one.sse[:, rows[:1]]),
            R2Sums(two.n, two.a, two.aa, two.sse[:, rows[1:]]),
        )


def _differences(sums: _Both) -> np.ndarray:
    """[b, 2, features]: difference and loss."""
    own, (theirs, transferred) = r2(sums.this)[:, 0], r2(sums.other).swapaxes(0, 1)
    return np.stack([theirs - own, theirs - transferred], axis=1)


def _means(values: np.ndarray, without: np.ndarray, counted: np.ndarray, n: int) -> EstimateArray:
    if not n:
        return EstimateArray(*np.full((3, 2), np.nan))
    spread = np.broadcast_to(counted[:, None], without.shape)
    return from_left_out(values / n, without / n, spread, PLAIN, corrected=True).interval()


def _row(estimates: EstimateArray, row: int) -> EstimateArray:
    return EstimateArray(estimates.value[row], estimates.low[row], estimates.high[row])
