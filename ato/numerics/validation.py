"""Checks of rows at the door: shapes, widths, group numbers and finiteness, before any statistic sees them."""

from collections.abc import Hashable, Mapping, Sequence
from functools import partial
from typing import TypeVar

import numpy as np
import torch

from ato.errors import InputError, LayerError, NonFiniteError
from ato.numerics.parallel import run_tasks

Layer = TypeVar("Layer", bound=Hashable)
"""What residuals are kept under."""


def as_float_tensor(x: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The array as a detached float32 or float64 tensor, in its own memory where that is possible."""
    if not isinstance(x, torch.Tensor):
        array = np.ascontiguousarray(x)
        x = torch.from_numpy(array if array.flags.writeable else array.copy())
    x = x.detach().cpu() if x.device.type == "mps" else x.detach()  # Metal has no float64 to accumulate in
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)


def validate_residuals(
    residuals: Mapping[Layer, np.ndarray | torch.Tensor],
    layers: Sequence[Layer],
    widths: Mapping[Layer, int],
    rows: Mapping[Layer, np.ndarray] | None = None,
) -> dict[Layer, torch.Tensor]:
    """Rows [n, d] of the layers as float tensors; with ``rows``, layer -> [k] row numbers, n may differ between layers.

    Raises:
        LayerError: a layer is missing.
        InputError: the shape is not [n, d], n, k or a known width differs, or there is no such row.
        NonFiniteError: an entry is NaN or infinite.
    """
    if missing := [layer for layer in layers if layer not in residuals]:
        raise LayerError(f"residuals of layers {missing} are missing", where=f"given {list(residuals)}")
    found: dict[Layer, torch.Tensor] = {}
    n = None
    for layer in layers:
        x = as_float_tensor(residuals[layer])
        index = None if rows is None else rows.get(layer)
        length = len(index) if index is not None else x.shape[0] if x.ndim else 0
        n = length if n is None else n
        if x.ndim != 2 or length != n or x.shape[1] != widths.get(layer, x.shape[1]):
            cure = f"pass [{n}, {widths.get(layer, 'd')}]"
            raise InputError(f"residuals have shape {tuple(x.shape)}", where=f"layer {layer}", cure=cure)
        if index is not None and len(index) and not 0 <= index.min() <= index.max() < len(x):
            raise InputError(f"rows must be indices from 0 to {len(x) - 1}", where=f"layer {layer}")
        found[layer] = x
    for layer, finite in zip(found, _all_finite(list(found.values())), strict=True):
        if not finite:
            raise NonFiniteError("residual is NaN or infinite", where=f"layer {layer}", cure="drop those rows")
    return found


def _all_finite(arrays: Sequence[torch.Tensor]) -> list[bool]:
    """Whether each array holds finite numbers only; waits for an accelerator once, not once an array."""

    def on_host(x: torch.Tensor) -> bool:
        flat = x.numpy().reshape(-1)
        # A sum of squares is finite unless some entry is not, or it overflows: the mask is made only then.
        return bool(np.isfinite(np.dot(flat, flat)) or np.isfinite(flat).all())

    if all(x.is_cpu for x in arrays):
        return run_tasks([partial(on_host, x) for x in arrays])
    finite = [torch.isfinite(x).all() for x in arrays]
    return torch.stack([one.to(finite[0].device) for one in finite]).tolist()


def validate_group_numbers(codes: np.ndarray | int | None, n: int, limit: int) -> np.ndarray:
    """Numbers [n] below the limit, such as groups or folds; one number stands for all rows.

    Raises:
        InputError: there are none, or they are not n integers from 0 to ``limit - 1``.
    """
    if codes is None:
        raise InputError("rows need group numbers", cure="pass group=, or fold= with numbers of train folds")
    array = np.asarray(codes)
    array = np.full(n, array) if array.ndim == 0 else array
    fits = array.shape == (n,) and array.dtype.kind in "iu"
    if not fits or (n and (array.min() < 0 or array.max() >= limit)):
        raise InputError(f"group numbers must be [{n}] integers from 0 to {limit - 1}", where=f"shape {array.shape}")
    return array
