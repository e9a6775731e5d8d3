"""Projections of residuals, true and predicted, on SAE decoder rows: at the active (token, feature) pairs only."""

import warnings
from collections.abc import Mapping

import numpy as np
import torch

from ato.operators import TransportOperator
from ato.residuals import ResidualBlock
from ato.saes import ActiveFeatures, SparseAutoencoder

# sampled_addmm is the one operation used here; the warning is about the sparse interface as a whole.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

FOLDED_BYTES = 1 << 30
"""Operators are folded into the decoder rows as long as all of them take no more than this."""


class ActiveProjections:
    """Projects y, x and y_hat on the unit decoder rows u of the features that are active, in units of y less ``b_dec``.

    A product with all of the decoder would compute 1 / activation rate times as much. An operator y_hat = T x + b is
    folded into the rows, y_hat.u = x.(T'u) + b.u, so that y_hat itself is never made; where the folded rows of all
    operators would not fit into ``FOLDED_BYTES`` it is.

    Args:
        sae: the SAE at the target layer.
        operators: name -> (source layer, operator).
        dtype: precision of the products.
    """

    def __init__(
        self, sae: SparseAutoencoder, operators: Mapping[str, tuple[int, TransportOperator]], dtype: torch.dtype
    ):
        self._sae, self._operators, self._dtype = sae, operators, dtype
        # decoder rows as columns: [d, d_sae]
        self._directions = sae.decoder_directions.to(dtype).T.contiguous()
        self._bias = sae.b_dec.to(dtype)
        sources = {source for source, _ in operators.values()}
        # Residuals are far from zero: less a mean of theirs, float32 products lose nothing.
        self._offsets = {source: self._mean_of(source) for source in sources}
        size = self._directions.numel() * self._directions.element_size()
        self._folded = self._fold() if size * len(operators) <= FOLDED_BYTES else {}

    def _mean_of(self, source: int) -> torch.Tensor:
        means = [op.x_mean for layer, op in self._operators.values() if layer == source and op.x_mean is not None]
        return torch.as_tensor(means[0]) if means else torch.zeros(1, dtype=torch.float64)

    def _fold(self) -> dict[str, tuple[torch.Tensor | None, np.ndarray]]:
        """Name -> T'u as columns [d_in, d_sae] (None where T is 0) and (T offset + b - b_dec).u [d_sae]."""
        rows, b_dec = self._sae.decoder_directions.double().cpu(), self._sae.b_dec.double().cpu()
        folded = {}
        for name, (source, operator) in self._operators.items():
            matrix, offset = torch.from_numpy(operator.matrix), self._offsets[source].expand(operator.d_in)
            constant = rows @ (matrix @ offset + torch.from_numpy(operator.bias) - b_dec)
            columns = (rows @ matrix).T.contiguous().to(self._directions) if operator.matrix.any() else None
            folded[name] = columns, constant.numpy()
        return folded

    def of_residuals(self, rows: torch.Tensor, active: ActiveFeatures) -> np.ndarray:
        """(rows - b_dec).u [m] float64 of residuals [n, d]."""
        return self._sampled(rows.to(self._directions) - self._bias, self._directions, active)

    def of_predictions(self, block: ResidualBlock, active: ActiveFeatures) -> dict[str, np.ndarray]:
        """Name -> (y_hat - b_dec).u [m] float64 of every operator."""
        if not self._folded:
            return {
                name: self.of_residuals(operator(block.residuals[source].to(self._dtype)), active)
                for name, (source, operator) in self._operators.items()
            }
        feature = active.feature.cpu().numpy()
        centred = {
            source: block.residuals[source].to(self._directions) - offset.to(self._directions)
            for source, offset in self._offsets.items()
        }
        found = {}
        for name, (columns, constant) in self._folded.items():
            found[name] = constant[feature]
            if columns is not None:
                found[name] = found[name] + self._sampled(centred[self._operators[name][0]], columns, active)
        return found

    def _sampled(self, rows: torch.Tensor, columns: torch.Tensor, active: ActiveFeatures) -> np.ndarray:
        """rows [n, d] times columns [d, d_sae] at the active pairs: [m] float64."""
        starts = torch.searchsorted(active.token, torch.arange(active.n + 1, device=rows.device))
        zeros = torch.zeros(len(active.token), dtype=self._dtype, device=rows.device)
        pairs = torch.sparse_csr_tensor(
            starts, active.feature, zeros, (active.n, self._sae.d_sae), check_invariants=False
        )
        return torch.sparse.sampled_addmm(pairs, rows, columns, beta=0.0).values().cpu().double().numpy()
