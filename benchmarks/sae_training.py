"""Training a TopK SAE: tokens/s against sae-lens' own trainer, and against the matrix products of a dense training step.

Both train the same architecture with the same loss, batch size, optimizer and precision on rows in memory. Ours counts
everything that ``train_sae`` does (centring, shuffling, the log); sae-lens is handed batches that are ready. The limit is
the time that the six products of a dense step (12 d_in d_sae FLOP a token) take at this machine's rate for one of them:
ours makes one of the six and may exceed it. Weights after some float32 steps are compared.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from typing import Any

import torch

from ato.numerics.devices import choose_device, choose_dtype
from ato.residuals import MemorySource
from ato.saes.training.choices import PerToken
from ato.saes.training.lens import trainer_config
from ato.saes.training.schedule import Schedule
from ato.saes.training.sparse import SparseTrainer
from ato.saes.training.trainer import train_sae
from benchmarks.measurement import Measurement, rate, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.timing import median_seconds, side_by_side

BATCH, LR, DEAD_AFTER = 1024, 3e-3, 20_000
LARGEST_DIFFERENCE = 1e-3
"""Of a weight after the compared steps, relative to the largest: Adam divides by gradients that may be all rounding."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at the width of the embedded model."""
    d, width, k, steps = (64, 256, 8, 6) if quick else (576, 2048, 32, 40)
    device = choose_device("auto")
    rows = torch.from_numpy(residual_like_rows(8 * BATCH, d)[0]).to(device)
    z = (rows - rows.mean(0)) * d**0.5 / (rows - rows.mean(0)).norm(dim=1).mean()
    compare(z, width, k)
    source, dtype = MemorySource({0: rows}), choose_dtype("auto", device)
    schedule = Schedule(steps, BATCH, LR, DEAD_AFTER)

    def ours() -> None:
        train_sae(
            source,
            0,
            d_sae=width,
            k=k,
            n_tokens=steps * BATCH,
            batch_size=BATCH,
            lr=LR,
            device=str(device),
            buffer_rows=8 * BATCH,
        )

    def theirs() -> None:
        with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
            sae_lens_trainer(z, width, k, schedule, dtype).fit()

    ours(), theirs()
    own, peer = side_by_side(ours, theirs, rounds=1 if quick else 3)
    n, name = steps * BATCH, str(dtype).removeprefix("torch.")
    yield speedup(
        f"topk SAE, {width:,} features, k = {k}, d = {d}, {n:,} tokens, {name}", own, "sae-lens' trainer", peer
    )
    product = product_seconds(z, width, dtype)
    yield rate(
        "tokens trained on", "tokens/s", n / own, "six dense products at the measured rate", BATCH / (6 * product)
    )


def sae_lens_trainer(z: torch.Tensor, width: int, k: int, schedule: Schedule, dtype: torch.dtype) -> Any:
    """sae-lens' trainer of a TopK SAE on random batches of rows z."""
    from sae_lens.saes.topk_sae import TopKTrainingSAE, TopKTrainingSAEConfig
    from sae_lens.training.sae_trainer import SAETrainer

    sae = TopKTrainingSAE(TopKTrainingSAEConfig(d_in=z.shape[1], d_sae=width, k=k, device=str(z.device)))
    with torch.no_grad():
        sae.W_dec.copy_(directions(width, z))
        sae.W_enc.copy_(sae.W_dec.T)
    return SAETrainer(cfg=trainer_config(schedule, str(z.device), dtype), sae=sae, data_provider=batches(z))


def directions(width: int, z: torch.Tensor) -> torch.Tensor:
    """Decoder rows [width, d] that both start with."""
    drawn = torch.randn(width, z.shape[1], generator=torch.Generator().manual_seed(0))
    return 0.1 * torch.nn.functional.normalize(drawn, dim=1).to(z.device)


def batches(z: torch.Tensor) -> Iterator[torch.Tensor]:
    """Random batches without end, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    while True:
        yield z[torch.randint(len(z), (BATCH,), generator=generator).to(z.device)]


def compare(z: torch.Tensor, width: int, k: int, steps: int = 5) -> None:
    """Assert that float32 steps give the weights that sae-lens' trainer gives."""
    schedule = Schedule(100, BATCH, LR, DEAD_AFTER)
    ours = SparseTrainer(directions(width, z), PerToken(k), schedule)
    theirs = sae_lens_trainer(z, width, k, schedule, torch.float32)
    for _, batch in zip(range(steps), batches(z)):
        ours.step(batch)
        theirs.step(batch)
    for name in ("W_enc", "W_dec", "b_enc", "b_dec"):
        expected = getattr(theirs.sae, name).detach()
        apart = float((getattr(ours, name) - expected).abs().mean() / expected.abs().max())
        assert apart < LARGEST_DIFFERENCE, f"{name} differs from that of sae-lens by {apart:.1e} of the largest weight"


def product_seconds(z: torch.Tensor, width: int, dtype: torch.dtype) -> float:
    """Time of one of a dense step's six products, the batch times the encoder."""
    x, encoder = z[:BATCH].to(dtype), directions(width, z).T.to(dtype)

    def ten() -> None:
        for _ in range(10):
            x @ encoder

    ten()
    return median_seconds(ten, rounds=5) / 10


if __name__ == "__main__":
    sys.exit(run("sae_training", measure, __doc__))
