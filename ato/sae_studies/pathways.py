"""How much of a target feature comes through one source feature, and how much is not transported at all.

On a token, the pre-activation of target feature t is exactly (with the transport graph's terms, see ``ato.graphs.transport``)

    pre_t = sum_j a_j e_t.(T d_j) + e_t.(T eps) + e_t.(y - T x - b) + constant,
    constant = e_t.(T b_dec + b) + b_enc (less e_t.b_dec of the target where its encoder subtracts it).

Without the constant the rest is what differs between tokens; the shares are of its sum over the tokens on which t is active.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from ato.features.document_sets import DocumentsOfFeatures
from ato.numerics.intervals import EstimateArray, document_interval
from ato.numerics.ratios import ratio
from ato.operators.operator import TransportOperator
from ato.residuals.blocks import ResidualBlock
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

DOCUMENT_GROUPS = 64
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
_ROWS = 512
"""Tokens whose encoder products are held at once."""


@dataclass(frozen=True)
class PathwayShares:
    """Shares of the features of a target SAE, [d_sae]; NaN where a feature is active on too few tokens."""

    n_active: np.ndarray
    """int64, tokens on which it is active."""
    n_documents: np.ndarray
    """int64."""
    through: EstimateArray
    """[matches, d_sae] share that comes through the source feature of each match."""
    not_transported: EstimateArray
    """Share of the transport error: what the operator does not predict."""


@dataclass(frozen=True)
class _Sums:
    n: np.ndarray
    whole: np.ndarray
    missed: np.ndarray
    through: np.ndarray
    """[groups, matches, d_sae]"""


class Pathways:
    """Accumulates the shares in a pass over held-out tokens.

    Memory is (3 + matches) float64 x 64 groups of documents a feature, whatever the number of tokens.

    Args:
        source: layer, as blocks hold it, and SAE.
        target: likewise.
        operator: between them.
        matched: [matches, d_sae of the target] int64 source features; -1: none.
    """

    def __init__(
        self,
        source: tuple[Layer, SparseAutoencoder],
        target: tuple[int, SparseAutoencoder],
        operator: TransportOperator,
        matched: np.ndarray,
    ):
        self._source_layer, self._source = source
        self._target_layer, self._target = target
        self._matched = torch.from_numpy(np.atleast_2d(matched))
        encoder = self._target.W_enc.T.double()  # [d_sae, d]
        written = self._source.W_dec[self._matched.clamp(min=0)].double()  # [matches, d_sae, d]
        matrix, bias = (torch.from_numpy(part).to(encoder) for part in (operator.matrix, operator.bias))
        self._gain = torch.einsum("md,nmd->nm", encoder @ matrix, written)
        self._gain[self._matched.to(self._gain.device) < 0] = 0
        self._encoder = encoder.float()
        self._matrix, self._bias = matrix, bias
        self._constant = self._source.b_dec.double() @ matrix.T + bias
        shape = (DOCUMENT_GROUPS, self._target.d_sae)
        through = np.zeros((DOCUMENT_GROUPS, *self._matched.shape))
        self._sums = _Sums(np.zeros(shape), np.zeros(shape), np.zeros(shape), through)
        self._documents = DocumentsOfFeatures(self._target.d_sae)

    def update(self, block: ResidualBlock) -> "Pathways":
        """Take a block with the residuals of both layers into account."""
        y, x = block.residuals[self._target_layer], block.residuals[self._source_layer]
        n_parts = max(1, -(-block.n // _ROWS))
        target, source = self._target.active(y), self._source.active(x)
        for (rows, of_target), (_, of_source) in zip(target.split(n_parts), source.split(n_parts)):
            self._add(x[rows], y[rows], of_target, of_source, block.document[rows])
        self._documents.update(block.document[target.token.cpu().numpy()], target.feature.cpu().numpy())
        return self

    def _add(
        self, x: torch.Tensor, y: torch.Tensor, target: ActiveFeatures, source: ActiveFeatures, document: np.ndarray
    ) -> None:
        matrix = self._matrix
        missed = (y.to(matrix) - x.to(matrix) @ matrix.T - self._bias).float()
        whole = (y.to(matrix) - self._constant).float()
        token, feature = target.token, target.feature
        group = document[token.cpu().numpy()] % DOCUMENT_GROUPS
        at = (group, feature.cpu().numpy())
        np.add.at(self._sums.n, at, 1.0)
        for into, rows in ((self._sums.whole, whole), (self._sums.missed, missed)):
            values = (rows @ self._encoder.T)[token, feature]
            np.add.at(into, at, values.double().cpu().numpy())
        activations = torch.zeros(len(x), self._source.d_sae, device=x.device)
        activations[source.token, source.feature] = source.value
        for n, matched in enumerate(self._matched.to(x.device)):
            own = activations[token, matched[feature].clamp(min=0)].double() * self._gain[n][feature]
            np.add.at(self._sums.through[:, n], at, own.cpu().numpy())

    def result(self, min_active: int = 30) -> PathwayShares:
        """The shares over all tokens seen, of the features active on ``min_active`` tokens at least."""
        sums, n_active = self._sums, self._sums.n.sum(0)
        judged = n_active >= min_active

        def shares(part: Any, n: np.ndarray) -> EstimateArray:
            whole = sums.whole if part.ndim == 2 else sums.whole[:, None]
            pair = np.stack([part, np.broadcast_to(whole, part.shape)], axis=1)
            found = document_interval(pair, _share, n)
            ends = (np.where(judged, end, np.nan) for end in (found.value, found.low, found.high))
            return EstimateArray(*ends)

        return PathwayShares(
            n_active.astype(np.int64),
            self._documents.counts(),
            shares(sums.through, np.broadcast_to(sums.n[:, None], sums.through.shape)),
            shares(sums.missed, sums.n),
        )


def _share(pair: np.ndarray) -> np.ndarray:
    """Of sums [b, 2, ...]: the first over the second where that is positive."""
    return ratio(pair[:, 0], pair[:, 1])
