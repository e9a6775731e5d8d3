"""Products of tall blocks of rows, where the rows are, and their accumulation in float64.

On the CPU everything goes through NumPy: its BLAS sees that x'x is symmetric and makes half of it (measured at twice
the rate of torch), and its element-wise passes do not wake a second thread pool.
"""

from collections.abc import Hashable, Iterable, MutableMapping
from typing import TypeVar

import numpy as np
import torch

Key = TypeVar("Key", bound=Hashable)


def centred(x: torch.Tensor, index: np.ndarray, offset: np.ndarray, dtype: torch.dtype) -> torch.Tensor:
    """Rows of x [n, d] at an ascending index, less an offset [d], in the given precision.

    The offset is subtracted in the wider of the two precisions: a mean of 300 sd leaves float32 too few digits.
    """
    first, last = int(index[0]), int(index[-1])
    consecutive = last - first + 1 == len(index)
    wide = torch.promote_types(x.dtype, dtype)
    if not x.is_cpu:
        part = x[first : last + 1] if consecutive else x[torch.from_numpy(index).to(x.device)]
        return (part - torch.from_numpy(offset).to(x.device, wide)).to(dtype)
    rows = x.numpy()[first : last + 1] if consecutive else x.numpy().take(index, axis=0)
    difference = np.subtract(rows, offset.astype(np.float64 if wide == torch.float64 else np.float32))
    return torch.from_numpy(difference.astype(np.float64 if dtype == torch.float64 else np.float32, copy=False))


def product(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """x'y of [n, d_x] and [n, d_y] in their own precision, TensorFloat-32 off."""
    if x.is_cpu:
        return torch.from_numpy(x.numpy().T @ y.numpy())
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("highest")  # TensorFloat-32 would keep three digits
    try:
        return x.T @ y
    finally:
        torch.set_float32_matmul_precision(before)


def accumulate(parts: MutableMapping[Key, torch.Tensor], key: Key, value: torch.Tensor) -> None:
    """parts[key] += value, in float64."""
    if key not in parts:
        parts[key] = torch.from_numpy(value.numpy().astype(np.float64)) if value.is_cpu else value.double().clone()
    elif value.is_cpu and parts[key].is_cpu:
        np.add(parts[key].numpy(), value.numpy(), out=parts[key].numpy())
    else:
        parts[key] += value.to(parts[key].device)


def total(parts: Iterable[torch.Tensor]) -> np.ndarray:
    """Sum of the parts on the host, float64, in memory of its own."""
    first, *others = (part.cpu().numpy() for part in parts)
    pooled = np.array(first, dtype=np.float64)
    for part in others:
        pooled += part
    return pooled
