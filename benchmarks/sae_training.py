"""Training SAEs: tokens/s against sae-lens' own trainer and the dense products, and several SAEs in one pass against each alone.

Both train the same architecture with the same loss, batch size, optimizer and precision on rows in memory. Ours counts
everything that ``train_sae`` does (centring, shuffling, the log); sae-lens is handed batches that are ready. The limit is
the time that the six products of a dense step (12 d_in d_sae FLOP a token) take at this machine's rate for one of them:
ours makes one of the six and may exceed it. Weights after some float32 steps are compared. Four SAEs in one pass share what
comes before their steps: from a model, its forward passes, which each of four runs makes again; from rows in memory next to
nothing, which is said beside it, without a target. SAEs of innovations y - T x - b stand beside plain ones of y.
"""

import contextlib
import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch

from ato.models import load_model
from ato.numerics.devices import choose_device, choose_dtype
from ato.operators import TransportOperator
from ato.residuals import MemorySource, ResidualSource
from ato.residuals.live import LiveSource
from ato.sae_studies.innovation import Innovations
from ato.saes.training.choices import PerBatch, PerToken
from ato.saes.training.lens import trainer_config
from ato.saes.training.plan import TrainingPlan
from ato.saes.training.schedule import Schedule
from ato.saes.training.sparse import SparseTrainer
from ato.saes.training.trainer import train_sae, train_saes
from ato.text import TokenSequence
from benchmarks.measurement import Measurement, growth, rate, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.shaped_model import SMALL, shaped_model
from benchmarks.timing import median_seconds, side_by_side

BATCH, LR, DEAD_AFTER = 1024, 3e-3, 20_000
MODEL, LAYER, SEQ_LEN = "smollm2-135m", 16, 128
AT_LEAST = {"topk": 2.0, "batchtopk": 1.5}
"""Times faster than sae-lens' trainer that training of an architecture should be."""
AT_MOST = 0.6
"""Of the time of four runs that one pass over the model's residuals should take."""
INNOVATIONS_AT_MOST = 1.25
"""Of the time of a plain SAE that one of innovations should take: what is added is T x, d products a number."""
LARGEST_DIFFERENCE = 1e-3
"""Of a weight after the compared steps, relative to the largest: Adam divides by gradients that may be all rounding."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at the width of the embedded model."""
    d, width, k, steps = (64, 256, 8, 6) if quick else (576, 4096, 32, 40)
    device = choose_device("auto")
    rows = torch.from_numpy(residual_like_rows(8 * BATCH, d)[0]).to(device)
    z = (rows - rows.mean(0)) * d**0.5 / (rows - rows.mean(0)).norm(dim=1).mean()
    source, dtype = MemorySource({0: rows}), choose_dtype("auto", device)
    schedule = Schedule(steps, BATCH, LR, DEAD_AFTER)
    n, name = steps * BATCH, str(dtype).removeprefix("torch.")
    settings: dict[str, Any] = {"n_tokens": n, "batch_size": BATCH, "device": str(device), "buffer_rows": 8 * BATCH}
    for architecture, at_least in AT_LEAST.items():
        compare(architecture, z, width, k)

        def ours(architecture: str = architecture) -> None:
            train_sae(source, 0, architecture=architecture, d_sae=width, k=k, lr=LR, **settings)

        def theirs(architecture: str = architecture) -> None:
            with open(os.devnull, "w") as nowhere, contextlib.redirect_stderr(nowhere):
                sae_lens_trainer(architecture, z, width, k, schedule, dtype).fit()

        ours(), theirs()
        own, peer = side_by_side(ours, theirs, rounds=1 if quick else 3)
        what = f"{architecture} SAE, {width:,} features, k = {k}, d = {d}, {n:,} tokens, {name}"
        yield speedup(what, own, "sae-lens' trainer", peer, at_least=at_least)
        if architecture == "topk":
            limit = BATCH / (6 * product_seconds(z, width, dtype))
            yield rate("tokens trained on", "tokens/s", n / own, "six dense products at the measured rate", limit)
    yield from one_pass(quick, source, settings, width, k)
    yield innovations(quick, rows, settings, width, k)


def one_pass(
    quick: bool, memory: ResidualSource, settings: dict[str, Any], width: int, k: int
) -> Iterator[Measurement]:
    """Four SAEs of one layer, two architectures and two sparsities, in one pass against four runs."""
    plans = [TrainingPlan(name, width, sparsity, LR) for name in AT_LEAST for sparsity in (k // 2, k)]
    live, layer = live_source(quick, settings["n_tokens"])
    sources = {"from the model, each token once": (live, layer), "from rows in memory": (memory, 0)}
    for name, (source, at) in sources.items():

        def together(source: ResidualSource = source, at: int = at) -> None:
            train_saes(source, at, plans, **settings)

        def alone(source: ResidualSource = source, at: int = at) -> None:
            for plan in plans:
                train_saes(source, at, [plan], **settings)

        in_one, apart = side_by_side(together, alone, rounds=1)
        what = f"four SAEs of {width:,} features in one pass, {name}, {settings['n_tokens']:,} tokens"
        yield growth(what, "s", in_one, "four runs", apart, at_most=AT_MOST if source is live else None)


def innovations(quick: bool, rows: torch.Tensor, settings: dict[str, Any], width: int, k: int) -> Measurement:
    """An SAE of y - T x - b against one of y, over the same rows in memory."""
    d = rows.shape[1]
    source = MemorySource({0: rows.flip(0), 1: rows})
    operator = TransportOperator(0.5 * np.eye(d), np.zeros(d), "ridge", 0, 1)
    both = (Innovations(source, operator), source)
    own, plain = side_by_side(
        *(
            lambda read=read: train_sae(read, 1, architecture="topk", d_sae=width, k=k, lr=LR, **settings)
            for read in both
        ),
        rounds=1 if quick else 3,
    )
    what = f"topk SAE of innovations, {width:,} features, d = {d}, {settings['n_tokens']:,} tokens"
    return growth(what, "s", own, "a plain one of the target layer", plain, at_most=INNOVATIONS_AT_MOST)


def live_source(quick: bool, n_tokens: int) -> tuple[LiveSource, int]:
    """A model over random tokens, as many as are trained on, and the layer that is read."""
    model = shaped_model(SMALL) if quick else load_model(MODEL)
    layer = 2 if quick else LAYER
    usable = np.setdiff1d(np.arange(3, 259), sorted(model.special_token_ids))
    rng = np.random.default_rng(0)
    text = [
        TokenSequence(i, str(i), i, "train", i % 5, 0, rng.choice(usable, SEQ_LEN).astype(np.int32), "")
        for i in range(n_tokens // SEQ_LEN)
    ]
    return LiveSource(model, text, [layer], n_folds=5), layer


def sae_lens_trainer(
    architecture: str, z: torch.Tensor, width: int, k: int, schedule: Schedule, dtype: torch.dtype
) -> Any:
    """sae-lens' trainer of an SAE on random batches of rows z."""
    from sae_lens.registry import get_sae_training_class
    from sae_lens.training.sae_trainer import SAETrainer

    kind, config = get_sae_training_class(architecture)
    make: Callable[..., Any] = config
    sae: Any = kind(make(d_in=z.shape[1], d_sae=width, k=k, device=str(z.device)))
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


def compare(architecture: str, z: torch.Tensor, width: int, k: int, steps: int = 5) -> None:
    """Assert that float32 steps give the weights that sae-lens' trainer gives."""
    schedule = Schedule(100, BATCH, LR, DEAD_AFTER)
    choice = PerToken(k) if architecture == "topk" else PerBatch(k)
    ours = SparseTrainer(directions(width, z), choice, schedule)
    theirs = sae_lens_trainer(architecture, z, width, k, schedule, torch.float32)
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
