"""Speed of this machine at the kinds of work in a study, measured in about a second on the device of the settings."""

import hashlib
import os
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from flows.settings import Settings

if TYPE_CHECKING:
    import torch

ROUND_SECONDS = 0.15
"""Rounds are repeated for this long, and the fastest counts: other work on the machine can only slow one down."""
ROWS = 2048
"""Tokens in one product: about a batch, and enough for full speed."""
PRODUCT_FLOPS = 2e10
"""Upper bound for one round: a wide model is measured on fewer rows."""
SOLVED = 576
"""Largest matrix decomposed; the rate hardly changes above this size."""
SOLVE_FLOPS = 9
"""Of a float64 symmetric eigendecomposition with vectors, in d^3 (Golub and Van Loan, section 8.3)."""
NUMBERS = 1 << 24
"""float32 numbers read in one round: 64 MiB, more than caches hold."""
FILE_BYTES = 1 << 24


@dataclass(frozen=True)
class MachineRates:
    """Rates of this machine on the simplest work of each kind; a stage reaches a fraction of them."""

    forward: float
    """FLOP/s of a product in the model's precision, in the shape of its MLP, on its (first) device."""
    product: float
    """FLOP/s of float32 products of rows on that device."""
    host_product: float
    """FLOP/s of float32 products of rows on the CPU, one on each core, as for moments."""
    solve: float
    """FLOP/s of float64 symmetric eigendecompositions on the CPU, one on each core."""
    memory: float
    """Bytes/s read and written by an element-wise operation on a large float32 array on the CPU."""
    device_memory: float
    """The same on the device."""
    disk: float
    """Bytes/s of writing, hashing and flushing a file on the warehouse's disk."""


def measure_rates(settings: Settings, d_model: int) -> MachineRates:
    """Measure all rates for a model of this width, on the device and in the precision of the settings.

    Raises:
        SettingsError, UnavailableError: not a device, or not one of this machine.
    """
    import torch

    from ato.numerics.devices import choose_device, choose_dtype

    device, host = choose_device(settings.model.device), torch.device("cpu")
    dtype = choose_dtype(settings.model.dtype, device)
    host_product, memory = host_product_rate(d_model), memory_rate(host)
    return MachineRates(
        forward=product_rate(d_model, dtype, device),
        product=host_product if device == host else product_rate(d_model, torch.float32, device),
        host_product=host_product,
        solve=solve_rate(d_model),
        memory=memory,
        device_memory=memory if device == host else memory_rate(device),
        disk=disk_rate(_existing_folder(os.environ.get("ATO_WAREHOUSE", "data/warehouse"))),
    )


def product_rate(d_model: int, dtype: "torch.dtype", device: "torch.device") -> float:
    """FLOP/s of rows [n, d] times [d, 4d], the first product of a block's MLP."""
    import torch

    n = _rows(d_model) if device.type == "cpu" else ROWS
    x = torch.randn(n, d_model).to(device, dtype)
    weight = torch.randn(4 * d_model, d_model).to(device, dtype)

    def multiply() -> None:
        with torch.inference_mode():
            torch.nn.functional.linear(x, weight)[0, 0].item()  # waits for the device

    return 8 * n * d_model**2 / _best_seconds(multiply)


def host_product_rate(d_model: int) -> float:
    """FLOP/s of x'y of rows [n, d], one on each core."""
    import torch

    from ato.numerics.matmul import cross_gram
    from ato.numerics.parallel import run_tasks

    n, cores = _rows(d_model), torch.get_num_threads()
    x, y = (torch.randn(n, d_model) for _ in range(2))
    seconds = _best_seconds(lambda: run_tasks([partial(cross_gram, x, y)] * cores))
    return cores * 2 * n * d_model**2 / seconds


def _rows(d_model: int) -> int:
    """Rows of one product on the CPU."""
    return max(64, min(ROWS, int(PRODUCT_FLOPS / (8 * d_model**2))))


def solve_rate(d_model: int) -> float:
    """FLOP/s of eigendecompositions, one on each core."""
    import numpy as np
    import torch

    from ato.numerics.parallel import run_tasks

    d, n = min(d_model, SOLVED), torch.get_num_threads()
    rows = np.random.default_rng(0).normal(size=(d, d))
    scatter = rows @ rows.T
    seconds = _best_seconds(lambda: run_tasks([partial(np.linalg.eigh, scatter)] * n))
    return n * SOLVE_FLOPS * d**3 / seconds


def memory_rate(device: "torch.device") -> float:
    """Bytes/s of reading an array and writing another of its size."""
    import torch

    x, y = (torch.zeros(NUMBERS, device=device) for _ in range(2))

    def move() -> None:
        torch.mul(x, 2, out=y)[0].item()  # waits for the device

    return 2 * x.nbytes / _best_seconds(move)


def disk_rate(folder: Path) -> float:
    """Bytes/s of a file written as in the warehouse: hashed, and flushed to disk."""
    data = os.urandom(FILE_BYTES)

    def write() -> None:
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(data)
            file.seek(0)
            hashlib.file_digest(file, "sha256")
            file.flush()
            os.fsync(file.fileno())

    return len(data) / _best_seconds(write)


def _existing_folder(warehouse: str) -> Path:
    """The existing folder nearest to a warehouse; a temporary one if it is on an object store or read-only."""
    candidates = (
        []
        if "://" in warehouse
        else [path for path in (Path(warehouse).absolute(), *Path(warehouse).absolute().parents)]
    )
    nearest = next((path for path in candidates if path.is_dir()), None)
    return nearest if nearest is not None and os.access(nearest, os.W_OK) else Path(tempfile.gettempdir())


def _best_seconds(work: Callable[[], object]) -> float:
    """Seconds of the fastest round; the first, which warms up threads and libraries, counts only if it was long."""
    started = time.perf_counter()
    work()
    if (first := time.perf_counter() - started) > 2 * ROUND_SECONDS:
        return first
    best, started = float("inf"), time.perf_counter()
    while best == float("inf") or time.perf_counter() - started < ROUND_SECONDS:
        before = time.perf_counter()
        work()
        best = min(best, time.perf_counter() - before)
    return best
