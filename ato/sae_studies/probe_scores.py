"""AUROC and accuracy of probes, and both without each document: what their intervals are made from."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.stats import beta, rankdata

from ato.numerics.intervals import LEVEL, MIN_DOCUMENTS, Estimate, from_left_out
from ato.numerics.scales import SHARE


@dataclass(frozen=True)
class ProbeScore:
    """AUROC and accuracy on test documents, and both without each of them."""

    auroc: float
    accuracy: float
    without: tuple[np.ndarray, np.ndarray]
    """[n_test] each."""
    features: tuple[int, ...] = ()
    """That the probe uses."""

    @classmethod
    def mean(cls, scores: Sequence["ProbeScore"], features: tuple[int, ...] = ()) -> "ProbeScore":
        """The mean of scores on the same documents."""
        auroc, accuracy = (float(np.mean([getattr(of, name) for of in scores])) for name in ("auroc", "accuracy"))
        of_auroc, of_accuracy = (np.mean([of.without[i] for of in scores], axis=0) for i in (0, 1))
        return cls(auroc, accuracy, (of_auroc, of_accuracy), features)

    def estimates(self, n_smaller: int) -> tuple[Estimate, Estimate]:
        """AUROC and accuracy with their intervals; ``n_smaller`` documents are in the smaller class."""
        n = len(self.without[0])
        auroc = share_interval(self.auroc, self.without[0], n_smaller)
        return auroc, share_interval(self.accuracy, self.without[1], n)


def probe_score(scores: np.ndarray, said: np.ndarray, y: np.ndarray) -> ProbeScore:
    """The score of a probe.

    Args:
        scores: [n] log-odds of test documents.
        said: [n] bool, the class that it puts them into.
        y: [n] bool, the right one.
    """
    auroc, of_auroc = auroc_left_out(scores, y)
    right = (said == y).astype(np.float64)
    of_accuracy = (right.sum() - right) / (len(right) - 1)
    return ProbeScore(auroc, float(right.mean()), (of_auroc, of_accuracy))


def auroc_left_out(scores: np.ndarray, positive: np.ndarray) -> tuple[float, np.ndarray]:
    """AUROC, and AUROC without each row [n]; equal scores count half, NaN where a class is empty.

    Args:
        scores: [n].
        positive: [n] bool.
    """
    below, n = np.zeros(len(scores)), {side: int((positive == side).sum()) for side in (True, False)}
    ranks = rankdata(scores)
    for side in (True, False):
        own = positive == side
        below[own] = ranks[own] - rankdata(scores[own])  # rows of the other class below, ties half
    with np.errstate(divide="ignore", invalid="ignore"):
        won = np.where(positive, below / n[False], 1 - below / n[True])  # share of the other class, for each row
        value = won[positive].sum() / n[True]
        left = np.where(positive, n[True], n[False]) - 1
        total = np.where(positive, won[positive].sum(), won[~positive].sum())
        without: np.ndarray = (total - won) / np.where(left > 0, left, np.nan)
    return float(value), without


def share_interval(value: float, without: np.ndarray, n: int) -> Estimate:
    """A share with its limits (95 %) by leaving out one document.

    Where it is 0 or 1, or is so without one of the documents, what the others tell of its spread is nothing: the limits are
    then those of so many successes in n independent draws (Clopper-Pearson, at a number that need not be whole).
    """
    if np.isin([value, *without], (0.0, 1.0)).any():
        if n < MIN_DOCUMENTS:
            return Estimate(value)
        tail, won = (1 - LEVEL) / 2, value * n
        low = 0.0 if value == 0 else float(beta.ppf(tail, won, n - won + 1))
        return Estimate(value, low, 1.0 if value == 1 else float(beta.ppf(1 - tail, won + 1, n - won)))
    left_out = SHARE.forward(without)
    return from_left_out(np.asarray(value), left_out, np.ones_like(left_out), SHARE).interval().item()
