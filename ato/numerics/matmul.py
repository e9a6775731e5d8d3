"""Products of tall blocks of rows, where the rows are, and their accumulation in float64.

On the CPU everything goes through NumPy: its BLAS sees that x'x is symmetric and makes half of it (measured at twice
the rate of torch), and its element-wise passes do not wake a second thread pool.
"""

from collections.abc import Iterable

import numpy as np
import torch

CACHED_ROWS = 128
"""Rows taken and centred at a time, while they are in the cache."""


def take_rows(x: torch.Tensor, index: np.ndarray | None) -> torch.Tensor:
    """Rows of x [n, d] at an index, or all of them, in memory of their own."""
    return x.clone() if index is None else x.index_select(0, torch.from_numpy(index).to(x.device))


def write_centred(x: torch.Tensor, index: np.ndarray, offset: np.ndarray, out: torch.Tensor) -> None:
    """Write rows of x [n, d] at an index [m], less an offset [d], into out [m, d], of any precision.

    The offset is subtracted in the wider of the two precisions: a mean of 300 sd leaves float32 too few digits.
    """
    wide = torch.promote_types(x.dtype, out.dtype)
    if not x.is_cpu:
        torch.sub(take_rows(x, index), torch.from_numpy(offset).to(x.device, wide), out=out)
        return
    rows, room, less = x.numpy(), out.numpy(), offset.astype(np.float64 if wide == torch.float64 else np.float32)
    for start in range(0, len(index), CACHED_ROWS):
        part = slice(start, start + CACHED_ROWS)
        np.subtract(rows.take(index[part], axis=0), less, out=room[part], casting="same_kind")


def cross_gram(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x'y of [n, d_x] and [n, d_y] in their own precision, TensorFloat-32 off."""
    if x.is_cpu:
        return torch.from_numpy(x.numpy().T @ y.numpy())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # TensorFloat-32 would keep three digits
    try:
        return x.T @ y
    finally:
        torch.set_float32_matmul_precision(before)


def matmul(x: torch.Tensor, matrix: torch.Tensor) -> torch.Tensor:
    """x matrix of [n, d] and [d, m], in their own precision."""
    return torch.from_numpy(x.numpy() @ matrix.numpy()) if x.is_cpu else x @ matrix


def add_sum_and_gram(x: torch.Tensor, sums: torch.Tensor, gram: torch.Tensor) -> None:
    """Add the column sums of x [n, d] to sums [d], and x'x to gram [d, d], or its diagonal to gram [d]."""
    ones = x.new_ones(len(x), 1)
    _accumulate(sums, cross_gram(ones, x)[0])
    _accumulate(gram, cross_gram(x, x) if gram.ndim == 2 else cross_gram(ones, x * x)[0])


def add_cross_gram(x: torch.Tensor, y: torch.Tensor, cross: torch.Tensor) -> None:
    """Add x'y of [n, d_x] and [n, d_y] to cross [d_x, d_y], on the device of x."""
    _accumulate(cross, cross_gram(x, y.to(x.device)))


def _accumulate(sums: torch.Tensor, value: torch.Tensor) -> None:
    """sums += value, in float64."""
    if value.is_cpu:
        np.add(sums.numpy(), value.numpy(), out=sums.numpy())
    else:
        sums += value


def sum_on_host(parts: Iterable[torch.Tensor]) -> np.ndarray:
    """Sum of the parts on the host, float64, in memory of its own."""
    first, *others = (part.cpu().numpy() for part in parts)
    pooled = np.array(first, dtype=np.float64)
    for part in others:
        pooled += part
    return pooled
