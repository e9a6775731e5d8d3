"""Checks of rows at the door: shapes, widths, group numbers and finiteness, before any statistic sees them."""

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ato.errors import InputError, LayerError, NonFiniteError


def as_rows(x: np.ndarray | torch.Tensor) -> torch.Tensor:
    """The array as a detached float32 or float64 tensor, in its own memory where that is possible."""
    if not isinstance(x, torch.Tensor):
        array = np.ascontiguousarray(x)
        x = torch.from_numpy(array if array.flags.writeable else array.copy())
    x = x.detach().cpu() if x.device.type == "mps" else x.detach()  # Metal has no float64 to accumulate in
    return x if x.dtype in (torch.float32, torch.float64) else x.to(torch.float32)


def checked_rows(
    residuals: Mapping[int, np.ndarray | torch.Tensor], layers: Sequence[int], widths: dict[int, int]
) -> dict[int, torch.Tensor]:
    """Rows [n, d] of the layers as float tensors.

    Raises:
        LayerError: a layer is missing.
        InputError: the shape is not [n, d], or n or a known width differs.
        NonFiniteError: an entry is NaN or infinite.
    """
    if missing := [layer for layer in layers if layer not in residuals]:
        raise LayerError(f"residuals of layers {missing} are missing", where=f"given {sorted(residuals)}")
    rows: dict[int, torch.Tensor] = {}
    for layer in layers:
        x = as_rows(residuals[layer])
        n = len(rows[layers[0]]) if rows else x.shape[0] if x.ndim else 0
        if x.ndim != 2 or len(x) != n or x.shape[1] != widths.get(layer, x.shape[1]):
            cure = f"give [{n}, {widths.get(layer, 'd')}]"
            raise InputError(f"residuals have the shape {tuple(x.shape)}", where=f"layer {layer}", cure=cure)
        finite = np.isfinite(x.numpy()).all() if x.is_cpu else torch.isfinite(x).all()
        if not finite:
            raise NonFiniteError("residual is NaN or infinite", where=f"layer {layer}", cure="leave those rows out")
        rows[layer] = x
    return rows


def checked_codes(codes: np.ndarray | int | None, n: int, limit: int) -> np.ndarray:
    """Numbers [n] below the limit, such as groups or folds; one number stands for all rows.

    Raises:
        InputError: there are none, or they are not n integers from 0 to ``limit - 1``.
    """
    if codes is None:
        raise InputError("rows need their groups", cure="pass group=, or fold= with numbers of train folds")
    array = np.asarray(codes)
    array = np.full(n, array) if array.ndim == 0 else array
    fits = array.shape == (n,) and array.dtype.kind in "iu"
    if not fits or (n and (array.min() < 0 or array.max() >= limit)):
        raise InputError(f"group numbers must be [{n}] integers from 0 to {limit - 1}", where=f"shape {array.shape}")
    return array
