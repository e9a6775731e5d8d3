"""Steps of a TopK transcoder: tokens/s against the same step as dense autograd, with and without a skip connection.

sae-lens has transcoders but no trainer of them, so the peer is what its trainer does for SAEs: dense products, autograd,
fused Adam, in the same precision, on the same batches. Weights after some float32 steps are compared.
"""

import sys
from collections.abc import Callable, Iterator

import torch
from torch import Tensor
from torch.nn.functional import normalize

from ato.numerics.devices import choose_device, choose_dtype
from ato.saes.training.choices import PerToken
from ato.saes.training.schedule import Schedule
from ato.saes.training.transcoder_steps import TranscoderTrainer
from benchmarks.measurement import Measurement, speedup
from benchmarks.program import run
from benchmarks.rows import residual_like_rows
from benchmarks.timing import side_by_side

BATCH, LR, DEAD_AFTER = 1024, 3e-3, 10**9
LARGEST_DIFFERENCE = 1e-3
"""Of a weight after the compared steps, relative to the largest."""


def measure(quick: bool) -> Iterator[Measurement]:
    """Figures at the width of the embedded model."""
    d, width, k, steps = (64, 256, 8, 4) if quick else (576, 4096, 32, 20)
    device = choose_device("auto")
    dtype = choose_dtype("auto", device)
    rows = torch.from_numpy(residual_like_rows(4 * BATCH, d)[0])
    z = ((rows - rows.mean(0)) * d**0.5 / (rows - rows.mean(0)).norm(dim=1).mean()).to(device)
    pairs = torch.cat([z, z.relu().roll(1, dims=1)], dim=1)
    name = str(dtype).removeprefix("torch.")
    for skip in (False, True):
        compare(pairs, width, k, skip)
        ours, peer = trainer(pairs, width, k, skip, dtype).step, dense_step(pairs, width, k, skip, dtype)
        own, other = side_by_side(
            lambda ours=ours: trained(ours, pairs, steps),
            lambda peer=peer: trained(peer, pairs, steps),
            rounds=1 if quick else 3,
        )
        what = "topk transcoder with skip" if skip else "topk transcoder"
        figure = f"{what}, {width:,} features, k = {k}, d = {d}, {steps * BATCH:,} tokens, {name}"
        yield speedup(figure, own, "dense autograd", other, at_least=1.5)


def starts(width: int, d: int, device: torch.device) -> list[Tensor]:
    """Encoder and decoder rows [width, d] that both start with."""
    generator = torch.Generator().manual_seed(0)
    return [0.1 * normalize(torch.randn(width, d, generator=generator), dim=1).to(device) for _ in range(2)]


def trainer(pairs: Tensor, width: int, k: int, skip: bool, dtype: torch.dtype) -> TranscoderTrainer:
    """Ours."""
    encoder, decoder = starts(width, pairs.shape[1] // 2, pairs.device)
    return TranscoderTrainer(encoder, decoder, PerToken(k), Schedule(100, BATCH, LR, DEAD_AFTER), dtype, skip=skip)


def dense_step(pairs: Tensor, width: int, k: int, skip: bool, dtype: torch.dtype) -> Callable[[Tensor], list[Tensor]]:
    """A step as dense autograd; it returns the weights."""
    d = pairs.shape[1] // 2
    encoder, decoder = starts(width, d, pairs.device)
    zero = encoder.new_zeros
    weights = [w.requires_grad_() for w in (encoder, zero(width), decoder, zero(d), *([zero(d, d)] if skip else []))]
    schedule, done = Schedule(100, BATCH, LR, DEAD_AFTER), 0
    adam = torch.optim.Adam(weights, lr=LR, fused=True)

    def step(rows: Tensor) -> list[Tensor]:
        nonlocal done
        x, y = rows[:, :d], rows[:, d:]
        W_enc, b_enc, W_dec, b_dec, *W_skip = weights
        with torch.autocast(rows.device.type, dtype, enabled=dtype != torch.float32):
            pre = x @ W_enc.T + b_enc
            with torch.no_grad():
                chosen = (pre * W_dec.norm(dim=1)).topk(k, dim=1, sorted=False).indices
            acts = torch.zeros_like(pre).scatter(1, chosen, pre.gather(1, chosen).relu())
            out = acts @ W_dec + b_dec
            out = out + x @ W_skip[0] if W_skip else out
        loss = (out.float() - y).square().sum(1).mean()
        adam.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(weights, 1.0)
        adam.param_groups[0]["lr"] = schedule.lr_after(done)
        adam.step()
        done += 1
        return weights

    return step


def trained(step: Callable[[Tensor], object], pairs: Tensor, steps: int) -> None:
    """Some steps on random batches, the same in every call."""
    generator = torch.Generator().manual_seed(0)
    for _ in range(steps):
        step(pairs[torch.randint(len(pairs), (BATCH,), generator=generator).to(pairs.device)])


def compare(pairs: Tensor, width: int, k: int, skip: bool, steps: int = 3) -> None:
    """Assert that float32 steps give the weights of the dense ones."""
    ours, theirs = trainer(pairs, width, k, skip, torch.float32), dense_step(pairs, width, k, skip, torch.float32)
    for batch in pairs.split(BATCH)[:steps]:
        ours.step(batch)
        expected = theirs(batch)
    for found, weight in zip(ours._parameters, expected, strict=True):
        apart = float((found - weight.detach()).abs().mean() / weight.detach().abs().max())
        assert apart < LARGEST_DIFFERENCE, f"a weight differs from that of dense autograd by {apart:.1e} of the largest"


if __name__ == "__main__":
    sys.exit(run("transcoder_training", measure, __doc__))
