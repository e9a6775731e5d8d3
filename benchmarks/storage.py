"""Writing and reading activations through the warehouse, against NumPy's memory maps, safetensors and the raw disk.

What is written is one shard of several layers. The warehouse encodes Parquet, takes SHA-256 and publishes each file whole
(staging file, fsync, rename, fsync of the folder); the peers write one file a layer and flush it. Reading is warm, from
the system's cache: every number is summed, so that memory maps cannot put the work off.
"""

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from benchmarks.measurement import Measurement, rate
from benchmarks.program import run
from benchmarks.timing import side_by_side

N_FOLDS = 5
AIM = 0.5
"""Of the rate of a memory map, which copies nothing."""
WHY_MISSED = (
    "one copy is made, file by file in parallel: the residuals of a Parquet file begin at any byte, and numbers that are not "
    "aligned cannot be used where they lie"
)


def make_block(n: int, d: int, n_layers: int) -> "object":
    """Normal rows of sequences of 128 tokens."""
    from ato.residuals import ResidualBlock

    token = np.arange(n)
    generator = torch.Generator().manual_seed(0)
    return ResidualBlock(
        {layer: torch.randn(n, d, generator=generator) for layer in range(n_layers)},
        token // 128,
        (token % 128).astype(np.int32),
        token.astype(np.int32),
        token // 128,
        np.zeros(n, np.int16),
    )


def flush(path: Path) -> None:
    """Wait until a file is on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_memmaps(block, folder: Path) -> None:
    """One ``.npy`` a layer, filled through a memory map."""
    for layer, x in block.residuals.items():
        path = folder / f"{layer}.npy"
        mapped = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=tuple(x.shape))
        mapped[:] = x.numpy()
        mapped.flush()
        flush(path)


def write_safetensors(block, folder: Path) -> None:
    """One file a layer."""
    from safetensors.torch import save_file

    for layer, x in block.residuals.items():
        save_file({"residual": x}, folder / f"{layer}.safetensors")
        flush(folder / f"{layer}.safetensors")


def write_raw(block, folder: Path) -> None:
    """The same bytes and nothing else: what the disk can do."""
    for layer, x in block.residuals.items():
        with open(folder / f"{layer}.raw", "wb") as file:
            file.write(memoryview(x.numpy()).cast("B"))
        flush(folder / f"{layer}.raw")


def measure(quick: bool) -> Iterator[Measurement]:
    """Yield the figures."""
    from warehouse.datasets.sequences import write_sequences
    from warehouse.datasets.stored_source import read_block, write_block
    from warehouse.storage.warehouse import Warehouse

    n, d, n_layers, rounds = (1_024, 64, 3, 1) if quick else (8_192, 576, 6, 5)
    block = make_block(n, d, n_layers)
    size = 4 * n * d * n_layers
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        warehouse = Warehouse(folder / "warehouse")
        write_sequences(warehouse, "c", 0, sequences(n))
        layers = range(n_layers)
        taken = side_by_side(
            lambda: write_block(warehouse, "c", 0, block),
            lambda: write_memmaps(block, folder),
            lambda: write_safetensors(block, folder),
            lambda: write_raw(block, folder),
            rounds=rounds,
        )
        ours, *others = (size / seconds for seconds in taken)
        what = f"write {n_layers} layers of {n:,} x {d} activations"
        peers = ("np.memmap, flushed", "safetensors, flushed", "the bare disk: write and fsync")
        for peer, reference in zip(peers, others, strict=True):
            yield rate(what, "B/s", ours, peer, reference)

        def read_warehouse() -> list[float]:
            found = read_block(warehouse, "c", 0, layers, N_FOLDS)
            return [float(x.sum()) for x in found.residuals.values()]

        def read_memmaps() -> list[float]:
            arrays = (np.load(folder / f"{layer}.npy", mmap_mode="c") for layer in layers)
            return [float(torch.from_numpy(x).sum()) for x in arrays]

        def read_safetensors() -> list[float]:
            from safetensors.torch import load_file

            return [float(load_file(folder / f"{layer}.safetensors")["residual"].sum()) for layer in layers]

        found = read_warehouse()
        if found != read_memmaps() or found != read_safetensors():
            raise AssertionError("the warehouse gives other residuals back than were written")
        ours, *others = (
            size / s for s in side_by_side(read_warehouse, read_memmaps, read_safetensors, rounds=2 * rounds)
        )
        for peer, reference in zip(("np.memmap", "safetensors"), others, strict=True):
            aim = AIM if peer == "np.memmap" else None
            yield rate(what.replace("write", "read"), "B/s", ours, peer, reference, at_least=aim, why_missed=WHY_MISSED)


def sequences(n: int) -> list:
    """The sequences that the tokens of ``make_block`` belong to."""
    from ato.text import TokenSequence

    ids = np.arange(128, dtype=np.int32)
    return [TokenSequence(i, f"{i:016x}", i, "train", 0, 0, ids, "") for i in range(-(-n // 128))]


if __name__ == "__main__":
    sys.exit(run("storage", measure, __doc__))
