"""Projections of residuals, true and predicted, on SAE decoder rows: at the active (token, feature) pairs only."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.operators.operator import TransportOperator
from ato.residuals.position_policies import Layer
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

# sampled_addmm is the one operation used here; the warning is about the sparse interface as a whole.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

FOLDED_BYTES = 1 << 30
"""Operators are folded into the decoder rows as long as all of them take no more than this."""


@dataclass(frozen=True)
class Projections:
    """Projections at the m active pairs of some rows, in units of y less ``b_dec``."""

    true: torch.Tensor
    """[m] (y - b_dec).u"""
    kept: torch.Tensor
    """[sources, m] (x - b_dec).u, sources in ascending order."""
    predicted: torch.Tensor
    """[operators, m] (y_hat - b_dec).u, in the order of the operators."""
    stacked: torch.Tensor
    """[1 + operators, m] ``true`` and ``predicted``, which are views of it."""


@dataclass(frozen=True)
class _Folded:
    """An operator folded into the decoder rows: (y_hat - b_dec).u = (x - offset).row + constant."""

    rows: torch.Tensor | None
    """[d_sae, d] T'u; None where T is 0."""
    constant: torch.Tensor
    """[d_sae] (T offset + b - b_dec).u"""


class ActiveProjections:
    """Projects y, x and y_hat on the unit decoder rows u of the features that are active.

    A product with all of the decoder would compute 1 / activation rate times as much: it is faster only where more
    than a tenth to a third of all features are active at once (measured at d = 2304 and 576). An operator
    y_hat = T x + b is folded into the rows, y_hat.u = x.(T'u) + b.u, so that y_hat itself is never made; where the
    folded rows of all operators would not fit into ``FOLDED_BYTES`` it is. The identity takes what x itself gives.

    Everything is made on the SAE's device.

    Args:
        sae: the SAE at the target layer.
        target_layer: layer of y.
        operators: name -> (source layer, operator).
        dtype: precision of the products.
    """

    def __init__(
        self,
        sae: SparseAutoencoder,
        target_layer: int,
        operators: Mapping[str, tuple[Layer, TransportOperator]],
        dtype: torch.dtype,
    ):
        self._target, maps = target_layer, list(operators.values())
        self._rows = sae.decoder_directions.to(dtype)
        self._bias = sae.b_dec.to(dtype)
        self._layers = [source for source, _ in maps]
        self.sources = sorted(set(self._layers))
        # Residuals are far from zero: less a mean of theirs, float32 products lose nothing.
        means = {source: _mean_of([operator for layer, operator in maps if layer == source]) for source in self.sources}
        self._offsets = {source: mean.to(self._rows) for source, mean in means.items()}
        u, b_dec = sae.decoder_directions.double().cpu(), sae.b_dec.double().cpu()
        self._kept = {source: (u @ (mean - b_dec)).to(self._rows) for source, mean in means.items()}
        size = self._rows.numel() * self._rows.element_size()
        folds = size * len(maps) <= FOLDED_BYTES
        # One of the two is kept: either takes as much memory as all the rest.
        self._folded = [self._fold(u, b_dec, op, means[source]) for source, op in maps] if folds else []
        self._operators = [] if folds else [operator for _, operator in maps]

    def _fold(self, u: torch.Tensor, b_dec: torch.Tensor, operator: TransportOperator, offset: torch.Tensor) -> _Folded:
        matrix = torch.from_numpy(operator.matrix)
        constant = (u @ (matrix @ offset + torch.from_numpy(operator.bias) - b_dec)).to(self._rows)
        if not operator.matrix.any():
            return _Folded(None, constant)
        if np.array_equal(operator.matrix, np.eye(operator.d_in)):
            return _Folded(self._rows, constant)
        return _Folded((u @ matrix).to(self._rows), constant)

    def of_rows(self, residuals: Mapping[Layer, torch.Tensor], active: ActiveFeatures) -> Projections:
        """Projections of rows [n, d] at the layers of the sources and the target, at the active features of these."""
        feature, m = active.feature, len(active.feature)
        stacked = torch.empty((1 + len(self._layers), m), dtype=self._rows.dtype, device=self._rows.device)
        kept = torch.empty((len(self.sources), m), dtype=self._rows.dtype, device=self._rows.device)
        starts = torch.searchsorted(active.token, torch.arange(active.n + 1, device=feature.device))
        sites = torch.sparse_csr_tensor(
            starts, feature, torch.zeros_like(stacked[0]), (active.n, len(self._rows)), check_invariants=False
        )

        def at_pairs(rows: torch.Tensor, columns: torch.Tensor) -> torch.Tensor:
            return torch.sparse.sampled_addmm(sites, rows, columns.T, beta=0.0).values()

        stacked[0] = at_pairs(residuals[self._target].to(self._rows) - self._bias, self._rows)
        for row, source in enumerate(self.sources):
            x = residuals[source].to(self._rows)
            centred = x - self._offsets[source]
            own = at_pairs(centred, self._rows)
            kept[row] = own + self._kept[source][feature]
            for number, layer in enumerate(self._layers, start=1):
                if layer != source:
                    continue
                if self._operators:
                    stacked[number] = at_pairs(self._operators[number - 1](x) - self._bias, self._rows)
                    continue
                folded = self._folded[number - 1]
                stacked[number] = folded.constant[feature]
                if folded.rows is not None:
                    stacked[number] += own if folded.rows is self._rows else at_pairs(centred, folded.rows)
        return Projections(stacked[0], kept, stacked[1:], stacked)


def _mean_of(operators: Sequence[TransportOperator]) -> torch.Tensor:
    """Mean of the source that these operators share, zero where none of them has it."""
    means = [operator.x_mean for operator in operators if operator.x_mean is not None]
    return torch.from_numpy(means[0] if means else np.zeros(operators[0].d_in))
