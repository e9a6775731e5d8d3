"""Averages over the features of an SAE, with intervals by document of their own.

Features share their documents, so errors of their scores go together, and an average of their intervals says nothing of the
interval of the average. Here a document is left out of all features and all operators at once: means over features and
differences between operators are then scores like any other, with the intervals of ``ato.numerics.intervals``.

A share of verdicts is no smooth function of the sums: leaving out one of many documents moves no feature across a threshold,
or one. All features are therefore moved at once by what each document contributes to their errors, with 200 fixed sets
of signs (Wu, 1986: the wild bootstrap), and the shares' spread is the standard error.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from ato.evaluation.feature_scores import R2Sums, r2
from ato.evaluation.verdicts import COMPUTED, TRANSPORTED, UNDETERMINED
from ato.numerics.intervals import EstimateArray, Jackknife, degrees_of_freedom, from_left_out, left_out
from ato.numerics.scales import PLAIN, SHARE, UNEXPLAINED
from ato.numerics.sums import total

N_SIGNS = 200


@dataclass(frozen=True)
class FeatureAverages:
    """Averages over the same features under each of several operators."""

    n_features: int
    n_documents: int
    """Documents, or groups of them, in which one of the features is active."""
    mean_r2: EstimateArray
    """[operators]"""
    differences: EstimateArray
    """[operators, operators] ``mean_r2`` of the first operator less that of the second."""
    shares: Mapping[str, EstimateArray]
    """Verdict -> [operators] share of the features."""


class FeatureAveraging:
    """Accumulates the averages of some features, a chunk of features at a time.

    Args:
        chosen: [d_sae] bool, the features averaged over; those without r2 are left out.
        n_groups: documents, or groups of them.
        n_operators: number of operators.
        transported_above: threshold of the verdict.
        computed_below: likewise.
    """

    def __init__(
        self,
        chosen: np.ndarray,
        n_groups: int,
        n_operators: int,
        *,
        transported_above: float = 0.7,
        computed_below: float = 0.3,
    ):
        self._chosen, self._n_features = chosen, 0
        self._thresholds = UNEXPLAINED.forward(np.array([transported_above, computed_below]))
        self._signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(N_SIGNS, n_groups))
        self._rows = np.zeros(n_groups)
        self._value = np.zeros(n_operators)
        self._without = np.zeros((n_groups, n_operators))
        self._counts = np.zeros((2, n_operators))
        self._moved_counts = np.zeros((2, N_SIGNS, n_operators))

    def add(self, part: slice, sums: R2Sums) -> None:
        """Take a chunk of features into account; ``sums`` are by group, [groups, ..., features of the part]."""
        kept = np.flatnonzero(self._chosen[part])
        sums = R2Sums(*(values[..., kept] for values in (sums.n, sums.a, sums.aa, sums.sse)))
        value = r2(total(sums))[0]  # [operators, features]
        known = np.isfinite(value).all(0)
        sums = R2Sums(*(values[..., known] for values in (sums.n, sums.a, sums.aa, sums.sse)))
        value = value[:, known]
        without = np.concatenate(
            [np.empty((0, *value.shape)), *(r2(some) for some in left_out(sums))]
        )  # [groups, operators, features]
        self._n_features += value.shape[1]
        self._rows += sums.n.sum(1)
        self._value += value.sum(1)
        # Where a feature is not defined without a document, it is left as it is.
        self._without += np.where(np.isfinite(without), without, value).sum(2)
        self._count(value, without, np.broadcast_to(sums.n[:, None], without.shape))

    def _count(self, value: np.ndarray, without: np.ndarray, rows: np.ndarray) -> None:
        """Verdicts as they are, and as they are with all features moved by signs of the documents."""
        on_scale = UNEXPLAINED.forward(without)
        found = from_left_out(value, on_scale, rows, UNEXPLAINED)
        ends = found.ends()
        above = np.stack([ends[1] - self._thresholds[0], self._thresholds[1] - ends[0]])  # a verdict where at most 0
        counted = (rows > 0) & np.isfinite(on_scale)
        n = counted.sum(0)
        with np.errstate(divide="ignore", invalid="ignore"):
            mean = np.where(counted, on_scale, 0).sum(0) / n
            each = np.where(counted, (on_scale - mean) * np.sqrt((n - 1) / n), 0)
        moved = np.tensordot(self._signs, each, 1)  # [signs, operators, features]
        self._counts += (above <= 0).sum(2)
        self._moved_counts += np.stack([above[0] + moved <= 0, above[1] - moved <= 0]).sum(3)

    def result(self) -> FeatureAverages:
        """The averages; NaN where no feature has r2."""
        n, rows = max(self._n_features, 1), self._rows
        missing = 1.0 if self._n_features else np.nan
        mean, without = missing * self._value / n, self._without / n

        def spread(shape: np.ndarray) -> np.ndarray:
            return np.broadcast_to(rows.reshape(-1, *[1] * (shape.ndim - 1)), shape.shape)

        on_scale = UNEXPLAINED.forward(without)
        apart = without[:, :, None] - without[:, None]
        difference = from_left_out(mean[:, None] - mean, apart, spread(apart), PLAIN, corrected=True)
        of_mean = from_left_out(mean, on_scale, spread(on_scale), UNEXPLAINED, corrected=True)
        shares, moved = missing * self._counts / n, self._moved_counts / n
        freedom = np.where(np.isfinite(of_mean.error), degrees_of_freedom(spread(on_scale)), np.nan)
        return FeatureAverages(
            n_features=self._n_features,
            n_documents=int((rows > 0).sum()),
            mean_r2=of_mean.interval(),
            differences=difference.interval(),
            shares={
                TRANSPORTED: _share(shares[0], moved[0], freedom, n),
                COMPUTED: _share(shares[1], moved[1], freedom, n),
                UNDETERMINED: _share(1 - shares.sum(0), 1 - moved.sum(0), freedom, n),
            },
        )


def _share(value: np.ndarray, moved: np.ndarray, freedom: np.ndarray, n: int) -> EstimateArray:
    """Shares [operators] of n features, with limits from the spread of the moved ones [signs, operators], on the logit scale.

    Half a feature is added to either side, so that a share of 0 has a scale, and no spread counts as less than that.
    """
    near = (value * n + 0.5) / (n + 1)
    error = np.maximum(moved.std(0), 0.5 / (n + 1)) / (near * (1 - near))
    return Jackknife(value, SHARE.forward(near), error, freedom, SHARE).interval()


def feature_averages(
    parts: Iterable[tuple[slice, R2Sums]], averaging: Mapping[str, FeatureAveraging]
) -> dict[str, FeatureAverages]:
    """Averages over several choices of features, from one walk over the chunks of features."""
    for part, sums in parts:
        for of in averaging.values():
            of.add(part, sums)
    return {name: of.result() for name, of in averaging.items()}
