"""TransportOperator: an affine map between two layers' residual streams, bound to the model it was fitted on."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from ato.errors import DamagedFileError, InputError, MismatchError, SettingsError
from ato.tensor_files import read_tensors, write_tensors

Rows = TypeVar("Rows", np.ndarray, torch.Tensor)

_ARRAYS = ("matrix", "bias", "x_mean", "y_mean")


@dataclass(frozen=True, eq=False)
class TransportOperator:
    """The map y_hat = T x + b from the residual stream at a source layer to that at a target layer.

    Call it on rows: ``operator(X)`` with X [n, d_in] gives [n, d_out]. NumPy arrays give float64; tensors give a
    tensor of the same dtype and device.
    """

    matrix: np.ndarray
    """T [d_out, d_in], float64."""
    bias: np.ndarray
    """b [d_out], float64."""
    method: str
    """ridge, linear, ridge_to_identity, rrr, svd, identity, identity+bias or mean."""
    source_layer: int | None = None
    target_layer: int | None = None
    alpha: float | None = None
    """Ridge strength on the sum of squares (scikit-learn's scale)."""
    rank: int | None = None
    """Rank the map is known not to exceed; None for the identity."""
    output_weight: str | None = None
    """Metric of reduced-rank regression: whitened, raw or features."""
    x_mean: np.ndarray | None = None
    """[d_in], mean of the train rows at the source."""
    y_mean: np.ndarray | None = None
    """[d_out], mean of the train rows at the target."""
    model: str | None = None
    weights_hash: str | None = None
    collection: str | None = None
    _placed: dict[tuple, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict, repr=False, init=False)

    @property
    def d_in(self) -> int:
        """Width of the source."""
        return self.matrix.shape[1]

    @property
    def d_out(self) -> int:
        """Width of the target."""
        return self.matrix.shape[0]

    def __call__(self, x: Rows) -> Rows:
        """Predicted target rows [..., d_out] of source rows [..., d_in].

        Raises:
            InputError: the rows have another width.
        """
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            raise InputError(f"the operator takes rows of width {self.d_in}", where=f"given shape {tuple(x.shape)}")
        if not isinstance(x, torch.Tensor):
            return np.asarray(x, np.float64) @ self.matrix.T + self.bias
        # Half precision would round T itself; the product is made in float32 at least.
        dtype = torch.promote_types(x.dtype, torch.float32)
        key = (x.device, dtype)
        if key not in self._placed:
            matrix, bias = (torch.from_numpy(array).to(x.device, dtype) for array in (self.matrix, self.bias))
            self._placed[key] = matrix, bias
        matrix, bias = self._placed[key]
        return (x.to(dtype) @ matrix.T + bias).to(x.dtype)

    def truncated(self, rank: int) -> "TransportOperator":
        """The study's rank constraint T_r = U_r S_r V_r' (truncated SVD of T), with the bias re-fitted on train.

        The truncation is optimal for T in raw coordinates, not for predictions; method ``rrr`` gives the best map of a
        rank (transport-mathematics, section 1).

        Raises:
            SettingsError: the rank is not between 1 and the smaller width, or the operator has no train means.
        """
        largest = min(self.matrix.shape)
        if not 1 <= rank <= largest:
            raise SettingsError(f"rank {rank} is impossible here", cure=f"choose 1 to {largest}")
        if self.x_mean is None or self.y_mean is None:
            raise SettingsError("the operator lacks the train means that a truncation re-fits its bias on")
        u, s, vt = np.linalg.svd(self.matrix, full_matrices=False)
        matrix = (u[:, :rank] * s[:rank]) @ vt[:rank]
        bias = self.y_mean - matrix @ self.x_mean
        return replace(self, matrix=matrix, bias=bias, method="svd", rank=rank, output_weight=None)

    def check_model(self, weights_hash: str | None) -> None:
        """Raise MismatchError unless the operator was fitted on the model with these weights."""
        if self.weights_hash != weights_hash:
            raise MismatchError(
                f"the operator was fitted on another model ({self.model or 'unknown'})",
                where=f"weights {self.weights_hash} against {weights_hash}",
                cure="fit operators on this model's residuals",
            )

    def save(self, path: str | Path) -> None:
        """Write the operator as safetensors with its metadata; equal operators give equal bytes."""
        fields = {name: value for name, value in vars(self).items() if not name.startswith("_")}
        arrays = {name: fields.pop(name) for name in _ARRAYS}
        write_tensors(path, "operator", {n: a for n, a in arrays.items() if a is not None}, {"operator": fields})


def load_operator(path: str | Path) -> TransportOperator:
    """The operator that ``TransportOperator.save`` wrote.

    Raises:
        InputError: there is no such file.
        DamagedFileError: the file is truncated, altered or holds something else.
    """
    arrays, metadata = read_tensors(path, "operator")
    try:
        fields: dict[str, Any] = {**metadata["operator"], **arrays}
        return TransportOperator(**fields)
    except (KeyError, TypeError):
        raise DamagedFileError("the operator file is incomplete", where=path, cure="fit the operator again") from None
