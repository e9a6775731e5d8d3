"""The study's heaviest stage on an accelerator: a random model of the shape of Gemma 2 2B (26 layers, d = 2304).

Measures the forward pass against the matrix-product peak of its precision, collection with moments against the forward
pass, and the memory of both; then says how long the published study would take at the measured rates. Without a CUDA
device only their number, 0, is said but with ``--quick``, which takes a small model on whatever there is.
"""

import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import torch

from benchmarks.measurement import Measurement, plain, rate
from benchmarks.program import run
from benchmarks.shaped_model import GEMMA_2_2B, SMALL, shaped_model
from benchmarks.timing import median_seconds, seconds
from flows.engine.environment import make_data_folder, prepare_environment

SEQUENCE = 256
"""Tokens a sequence, as in the published study."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Forward pass, collection, memory, and the projected study."""
    yield plain("CUDA devices", "devices", torch.cuda.device_count())
    if not quick and not torch.cuda.is_available():
        return
    prepare_environment()
    make_data_folder()
    model = shaped_model(SMALL if quick else GEMMA_2_2B)
    n_sequences, batch, layers = (64, 8, (1, 2, 4)) if quick else (512, 32, (8, 10, 12, 14, 16, 18, 20))
    n_tokens, where = n_sequences * SEQUENCE, f"{model.identity.model}, {_short(model.dtype)}, {model.device.type}"
    ids = torch.randint(3, 259, (batch, SEQUENCE), generator=torch.Generator().manual_seed(0))
    lengths = torch.full((batch,), SEQUENCE)

    def forward() -> None:
        for _ in range(n_sequences // batch):
            model.residuals(ids, lengths, layers)

    forward()
    bare = median_seconds(forward)
    weights = sum(p.numel() for block in model.blocks[: max(layers) + 1] for p in block.parameters())
    peak = product_rate(model.device, model.dtype, 256 if quick else 8192)
    yield rate(
        f"forward pass, {where}", "FLOP/s", 2 * weights * n_tokens / bare, "matrix products of its precision", peak
    )
    with tempfile.TemporaryDirectory() as folder:
        taken = collect_with_moments(model, layers, n_tokens, batch, Path(folder))
    yield rate(
        f"collection with moments, {where}, {len(layers)} layers",
        "tokens/s",
        n_tokens / taken,
        "the bare forward pass",
        n_tokens / bare,
        at_least=None if quick else 0.9,
    )
    if torch.cuda.is_available():
        yield plain("memory taken on the device", "GiB", torch.cuda.max_memory_allocated() / 2**30)
    yield plain("the published study on this machine, projected", "h", projected_hours())


def collect_with_moments(model, layers: tuple[int, ...], n_tokens: int, batch: int, folder: Path) -> float:
    """Seconds of a collection that stores its layers and gathers the moments of neighbouring pairs."""
    from ato.residuals import run_pass
    from tasks.collect.moments import MomentsPass
    from tasks.collect.shard_source import CollectingSource
    from tasks.settings import CollectSettings, OperatorSettings
    from warehouse.storage.warehouse import Warehouse

    settings = CollectSettings(
        corpus=str(_corpus(folder / "corpus.jsonl", 2 * n_tokens)),
        n_tokens=n_tokens,
        seq_len=SEQUENCE,
        batch_size=batch,
    )
    operators = OperatorSettings(
        source_layers=list(layers[:-1]), leaps=[layers[1] - layers[0]], target_layers=list(layers)
    )
    source = CollectingSource(Warehouse(folder / "warehouse"), "benchmark", model, settings, layers)
    return seconds(partial(run_pass, source, [MomentsPass(source, operators)]))[0]


def _corpus(path: Path, n_bytes: int) -> Path:
    """Documents of random letters, one token a byte, two sequences each."""
    import json

    letters = np.random.default_rng(0).choice(list("abcdefgh "), n_bytes)
    texts = ("".join(letters[start : start + 2 * SEQUENCE]) for start in range(0, n_bytes, 2 * SEQUENCE))
    path.write_text("\n".join(json.dumps({"text": text}) for text in texts) + "\n")
    return path


def projected_hours() -> float:
    """Estimated time of the profile gemma-2-2b on this machine."""
    from flows.estimates.estimate import estimate
    from flows.settings import load_settings

    return estimate(load_settings("gemma-2-2b")).seconds / 3600


def product_rate(device: torch.device, dtype: torch.dtype, n: int) -> float:
    """FLOP/s of square matrix products."""
    x = torch.ones(n, n, device=device, dtype=dtype)
    return 2 * n**3 / median_seconds(lambda: x @ x, rounds=7)


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")


if __name__ == "__main__":
    sys.exit(run("gpu", measure, __doc__))
