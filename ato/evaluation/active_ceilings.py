"""Linear ceilings of features on the tokens where they are active: what the best combination of predictions reaches.

A regression of its own for each feature, in d dimensions on a few hundred tokens, would fit noise. What can be fitted
is a handful of weights: those of the predictions that are at hand and linear in x (x itself, the pair's operators)
and of a constant. That is stacked regression (Breiman 1996), cross-fitted by document.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from ato.evaluation.active_projections import Projections
from ato.evaluation.feature_scores import R2Sums, r2
from ato.numerics.intervals import MIN_DOCUMENTS, EstimateArray, document_interval
from ato.numerics.parallel import run_tasks
from ato.numerics.scales import UNEXPLAINED
from ato.saes.autoencoder import ActiveFeatures

CEILING_GROUPS = 64
"""Documents whose numbers are equal modulo this are left out together."""
PRIOR_TOKENS = 10
"""Tokens that the best single prediction counts for when weights are fitted: few tokens leave it nearly as it is."""
_CHUNK_FEATURES = 256


@dataclass(frozen=True)
class Predictions:
    """Whose predictions a ceiling combines, beside a constant; numbers are rows of ``Projections``."""

    source: int
    """Row of ``kept``: x.u at this source."""
    operators: tuple[int, ...]
    """Rows of ``predicted``, of operators from that source."""


class ActiveCeilings:
    """Accumulates, per feature and group of documents, the products of a with predictions of a on active tokens.

    The memory is (q + 2)(q + 3) / 2 x 64 groups of documents x features in float64, for q predictions.

    Args:
        wanted: name of a ceiling -> the predictions that it combines; equal ones are kept once.
        d_sae: number of features.
        device: of the projections.
    """

    def __init__(self, wanted: Mapping[str, Predictions], d_sae: int, device: torch.device):
        self._wanted, self._d_sae = dict(wanted), d_sae

        def zeros(predictions: Predictions) -> torch.Tensor:
            q = 1 + len(predictions.operators)
            shape = ((q + 2) * (q + 3) // 2, CEILING_GROUPS, d_sae)
            return torch.from_numpy(np.zeros(shape)).to(device)  # pages that stay zero take no memory

        self._products = {predictions: zeros(predictions) for predictions in self._wanted.values()}

    def add(self, found: Projections, active: ActiveFeatures, document: np.ndarray) -> None:
        """Take active pairs into account.

        Args:
            found: projections at the pairs.
            active: the pairs.
            document: [tokens] document numbers.
        """
        feature, a = active.feature, found.true.double()
        group = torch.from_numpy(document % CEILING_GROUPS).to(feature.device)
        code = group[active.token] * self._d_sae + feature
        for predictions, products in self._products.items():
            rows = (found.predicted[row] for row in predictions.operators)
            values = [torch.ones_like(a), a, *(p.double() for p in (found.kept[predictions.source], *rows))]
            pairs = [(left, right) for i, left in enumerate(values) for right in values[: i + 1]]
            for sums, (left, right) in zip(products, pairs, strict=True):
                sums.view(-1).scatter_add_(0, code, left * right)

    def merge(self, other: "ActiveCeilings") -> None:
        """Add the sums of other tokens."""
        for predictions, products in self._products.items():
            products += other._products[predictions]

    def result(self) -> dict[str, EstimateArray]:
        """Name of each ceiling -> estimates [d_sae]; NaN for features active in fewer than ``MIN_DOCUMENTS`` documents."""
        found = {predictions: self._estimates(products) for predictions, products in self._products.items()}
        return {name: found[predictions] for name, predictions in self._wanted.items()}

    def _estimates(self, products: torch.Tensor) -> EstimateArray:
        value = np.full(self._d_sae, np.nan)
        low, high = value.copy(), value.copy()
        seen = (products[0].sum(1) > 0).nonzero()[:, 0]

        def judge(part: slice) -> None:
            sums = held_out_sums(_matrices(products[:, seen, part].cpu().numpy()))
            estimate = document_interval(sums, r2, sums.n[:, None], UNEXPLAINED)
            enough = (sums.n > 0).sum(0) >= MIN_DOCUMENTS  # of fewer documents too little is left when one is left out
            value[part], low[part], high[part] = (
                np.where(enough, limit[0], np.nan) for limit in (estimate.value, estimate.low, estimate.high)
            )

        if len(seen):
            starts = range(0, self._d_sae, _CHUNK_FEATURES)
            run_tasks([partial(judge, slice(start, start + _CHUNK_FEATURES)) for start in starts])
        return EstimateArray(value, low, high)


def held_out_sums(products: np.ndarray) -> R2Sums:
    """Sums by group of documents of the errors of predictions fitted on all other groups.

    With z = (p_1, ..., p_q) the predictions of a, weights w and a constant c minimise
    sum (a - c - w'z)^2 + (PRIOR_TOKENS / n) sum_j S_jj (w_j - b_j)^2 over the n tokens of the other groups, where S is
    the scatter of z and b is 1 for the one prediction that does best there alone, 0 for all others (and for all where
    the constant does best). In the population the weights are those of least squares, so that the ceiling is at
    least the R2 of every prediction among them, rescaled or not.

    Args:
        products: [groups, features, 2 + q, 2 + q] sums of the products of (1, a, p_1, ..., p_q) with each other.

    Returns:
        Sums [groups, features], and ``sse`` [groups, 1, features]; groups without other tokens add no error.
    """
    rest = products.sum(0) - products
    n = np.maximum(rest[..., 0, 0], 1)
    means = rest[..., 0, 1:] / n[..., None]
    scatter = rest[..., 1:, 1:] - n[..., None, None] * means[..., :, None] * means[..., None, :]
    covaries, within = scatter[..., 0, 1:], scatter[..., 1:, 1:]
    squares = np.diagonal(rest, axis1=-2, axis2=-1)[..., 2:]
    own = np.diagonal(within, axis1=-2, axis2=-1)
    varies = own > 1e-12 * squares  # what is less is rounding: such a prediction is a constant, and there is one
    own = np.where(varies, own, 0.0)
    covaries = np.where(varies, covaries, 0.0)
    within = np.where(varies[..., :, None] & varies[..., None, :], within, 0.0)
    single = own - 2 * covaries  # sum of squared errors of p_j alone, less that of the constant
    best = np.arange(single.shape[-1]) == single.argmin(-1)[..., None]
    prior = np.where(best & (single < 0), 1.0, 0.0)
    penalty = np.where(varies, own * (PRIOR_TOKENS / n[..., None]), 1.0)
    system = within + penalty[..., None] * np.eye(single.shape[-1])
    towards = covaries - np.einsum("...ij,...j->...i", within, prior)
    weights = prior + np.linalg.solve(system, towards[..., None])[..., 0]
    constant = means[..., 0] - np.einsum("...i,...i->...", weights, means[..., 1:])
    error = np.concatenate([-constant[..., None], np.ones_like(constant)[..., None], -weights], axis=-1)
    sse = np.maximum(np.einsum("...i,...ij,...j->...", error, products, error), 0.0)
    n_own, a, aa = products[..., 0, 0], products[..., 0, 1], products[..., 1, 1]
    return R2Sums(n_own, a, aa, np.where(rest[..., 0, 0] > 0, sse, 0.0)[:, None])


def _matrices(products: np.ndarray) -> np.ndarray:
    """Symmetric matrices [groups, features, v, v] from the rows of their lower triangles [v (v + 1) / 2, groups, features]."""
    v = int(np.sqrt(2 * len(products)))
    matrices = np.empty((*products.shape[1:], v, v))
    for row, (i, j) in zip(products, _lower(v), strict=True):
        matrices[..., i, j] = matrices[..., j, i] = row
    return matrices


def _lower(v: int) -> Sequence[tuple[int, int]]:
    return [(i, j) for i in range(v) for j in range(i + 1)]
