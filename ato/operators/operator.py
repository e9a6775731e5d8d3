"""TransportOperator: an affine map between two layers' residual streams, bound to the model it was fitted on."""

from typing import TYPE_CHECKING, Protocol

import numpy as np
import torch

from ato.errors import InputError, MismatchError

if TYPE_CHECKING:
    pass

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeVar

from ato.errors import DamagedFileError, SettingsError
from ato.io.tensor_files import read_tensors, write_tensors

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
    """One of ``ato.operators.methods.METHODS``; ``composed`` for the product of two operators of different methods."""
    source_layer: int | None = None
    target_layer: int | None = None
    alpha: float | None = None
    """Strength on scikit-learn's scale: on the sum of squares for ridge methods, on the mean for lasso and elasticnet."""
    l1_ratio: float | None = None
    """Share of the L1 penalty; 1 for lasso, None for ridge methods and baselines."""
    rank: int | None = None
    """Rank the map is known not to exceed; None for the identity."""
    output_weight: str | None = None
    """Metric of reduced-rank regression: whitened, raw or features."""
    x_mean: np.ndarray | None = None
    """[d_in], mean of the train rows at the source."""
    y_mean: np.ndarray | None = None
    """[d_out], mean of the train rows at the target."""
    model: str | None = None
    revision: str | None = None
    """Revision of the hub model the residuals come from."""
    weights_hash: str | None = None
    collection: str | None = None
    _placed: dict[tuple[torch.device, torch.dtype], tuple[torch.Tensor, torch.Tensor]] = field(
        default_factory=dict, repr=False, init=False
    )

    @property
    def d_in(self) -> int:
        """Width of the source."""
        return int(self.matrix.shape[1])

    @property
    def d_out(self) -> int:
        """Width of the target."""
        return int(self.matrix.shape[0])

    def __call__(self, x: Rows) -> Rows:
        """Predicted target rows [..., d_out] of source rows [..., d_in].

        Raises:
            InputError: the rows have another width.
        """
        if x.ndim == 0 or x.shape[-1] != self.d_in:
            raise InputError(f"the operator expects rows of width {self.d_in}", where=f"given shape {tuple(x.shape)}")
        if not isinstance(x, torch.Tensor):
            predicted: np.ndarray = np.asarray(x, np.float64) @ self.matrix.T + self.bias
            return predicted
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
        rank.

        Raises:
            SettingsError: the rank is not between 1 and the smaller width, or the operator has no train means.
        """
        largest = min(self.matrix.shape)
        if not 1 <= rank <= largest:
            raise SettingsError(f"invalid rank {rank}", cure=f"choose 1 to {largest}")
        if self.x_mean is None or self.y_mean is None:
            raise SettingsError("truncation needs the train means, which this operator lacks")
        u, s, vt = np.linalg.svd(self.matrix, full_matrices=False)
        matrix = (u[:, :rank] * s[:rank]) @ vt[:rank]
        bias = self.y_mean - matrix @ self.x_mean
        return replace(self, matrix=matrix, bias=bias, method="svd", rank=rank, output_weight=None)

    def composed_with(self, second: "TransportOperator") -> "TransportOperator":
        """This operator followed by ``second``: x -> T2 (T1 x + b1) + b2, from this source to the other's target.

        Where the middle layer holds all that the target takes linearly from the source, it predicts what the direct
        operator predicts.

        Raises:
            MismatchError: the two do not meet in one layer and width, or belong to different models.
        """
        layers = self.target_layer, second.source_layer
        if self.d_out != second.d_in or (None not in layers and layers[0] != layers[1]):
            raise MismatchError(
                f"cannot compose operators {self._pair} and {second._pair}",
                where=f"widths {self.d_out} and {second.d_in}",
                cure="compose operators that meet in one layer",
            )
        second.check_model(self.weights_hash)
        ranks = [operator.rank for operator in (self, second) if operator.rank is not None]
        return TransportOperator(
            second.matrix @ self.matrix,
            second.matrix @ self.bias + second.bias,
            self.method if self.method == second.method else "composed",
            source_layer=self.source_layer,
            target_layer=second.target_layer,
            rank=min(ranks) if ranks else None,
            x_mean=self.x_mean,
            y_mean=second.y_mean,
            model=self.model,
            revision=self.revision,
            weights_hash=self.weights_hash,
            collection=self.collection if self.collection == second.collection else None,
        )

    @property
    def _pair(self) -> str:
        return f"{self.source_layer} -> {self.target_layer}"

    def check_pair(self, source_layer: int, target_layer: int) -> None:
        """Raise MismatchError unless the operator was fitted for this pair of layers."""
        if (self.source_layer, self.target_layer) != (source_layer, target_layer):
            raise MismatchError(
                f"operator of {self._pair} used for {source_layer} -> {target_layer}",
                cure="fit an operator for that pair",
            )

    def check_model(self, weights_hash: str | None) -> None:
        """Raise MismatchError unless the operator was fitted on the model with these weights."""
        if self.weights_hash != weights_hash:
            raise MismatchError(
                f"the operator was fitted on another model ({self.model or 'unknown'})",
                where=f"weights {self.weights_hash} against {weights_hash}",
                cure="fit the operator on residuals of this model",
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


class AffineMap(Protocol):
    """What is scored: y_hat = matrix x + bias, as a TransportOperator is."""

    @property
    def matrix(self) -> np.ndarray:
        """[d_out, d_in]."""
        ...

    @property
    def bias(self) -> np.ndarray:
        """[d_out]."""
        ...
