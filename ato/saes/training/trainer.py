"""Training sparse autoencoders of any trainable architecture on a stream of residuals, in bounded memory."""

import contextlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import torch

from ato.errors import NonFiniteError, SettingsError
from ato.numerics.devices import choose_device, choose_dtype
from ato.residuals.blocks import ResidualSource
from ato.saes.architectures import TRAINABLE, TrainableArchitecture
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.interface import Trainer, TrainingStart, TrainingStep
from ato.saes.training.schedule import Schedule
from ato.saes.training.shuffle_buffer import ShuffleBuffer

DEAD_AFTER = 20_000
"""Tokens without activation after which a feature counts as dead and the auxiliary loss revives it."""

_NORM_ROWS = 4096
_SAMPLE_ROWS = 512
"""Rows of ``TrainingStart.sample``."""

LogRow = dict[str, float | int | str]


@dataclass(frozen=True)
class TrainedSAE:
    """A trained SAE and the log of its training."""

    sae: SparseAutoencoder
    """Takes raw residuals; decoder rows have length 1, so that activations are in units of the residual stream."""
    log: list[LogRow]
    """Rows of the table ``sae_training`` without its keys ``collection`` and ``sae``."""
    n_tokens: int
    """Tokens trained on, repeats included."""
    n_epochs: float
    """Passes over the train split; NaN if it did not fit in the shuffle buffer and was not read to its end."""


def train_sae(
    source: ResidualSource,
    layer: int,
    *,
    architecture: str = "topk",
    d_sae: int = 2048,
    k: int = 32,
    n_tokens: int = 600_000,
    batch_size: int = 1024,
    lr: float = 3e-3,
    seed: int = 0,
    buffer_rows: int = 131_072,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainedSAE:
    """Train an SAE on the train split of a source, with the losses and the optimizer of sae-lens.

    Residuals are centred by their mean and scaled to a mean norm of sqrt(d_in), both estimated on the first filling
    of the shuffle buffer; the SAE starts with a decoder bias equal to that mean. Both are folded into the weights in
    the end. The learning rate rises over the first 5 % of the steps and falls to 0 over the last 30 %. Equal
    arguments on equal residuals give equal weights on one machine, and the global random state is left alone.

    Args:
        source: residuals; only the train split is read, again for each epoch unless it fits the buffer.
        layer: layer to train on.
        architecture: one of ``ato.saes.TRAINABLE``, see ``ato.saes.architectures``.
        d_sae: number of features.
        k: active features per token: exactly, or in the mean, as the architecture has it.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        lr: peak learning rate of Adam.
        seed: of the initial weights and the order of tokens.
        buffer_rows: tokens in the shuffle buffer: the memory is buffer_rows x d_in x 4 bytes, where it trains.
        device: where to train; auto takes cuda where there is one, else the CPU.
        precision: of the matrix products; auto takes bfloat16 where the processor multiplies it natively (about
            three times as fast, and no worse in variance explained), else float32. The weights are float32.
        log_every: steps between two rows of the log.
        metadata: kept with the SAE, for example ``model_name``.
        on_step: called with each row of the log.
        on_progress: called after each step with tokens done and tokens to do.

    Raises:
        SettingsError: settings that contradict each other.
        CorpusError: no train residuals.
        NonFiniteError: residuals with NaN, or a training that diverged.
    """
    _check(architecture, d_sae=d_sae, k=k, n_tokens=n_tokens, batch_size=batch_size, log_every=log_every)
    kind = TRAINABLE[architecture]
    chosen = choose_device("cpu" if device == "auto" and not torch.cuda.is_available() else device)
    buffer = ShuffleBuffer(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed, device=chosen)
    mean = buffer.rows.mean(0)
    # In parts: the centred rows of a whole buffer would take as much memory as the buffer.
    norms = torch.cat([(rows - mean).norm(dim=1) for rows in buffer.rows.split(_NORM_ROWS)])
    scale = math.sqrt(len(mean)) / max(norms.mean().item(), 1e-12)
    n_steps = max(1, n_tokens // batch_size)
    batches = ((batch - mean).mul_(scale) for batch in buffer.batches())
    schedule, dtype = Schedule(n_steps, batch_size, lr, DEAD_AFTER), choose_dtype(precision, chosen)
    with contextlib.closing(buffer):
        directions = _directions(d_sae, len(mean), seed).to(chosen)
        sample = (buffer.rows[:_SAMPLE_ROWS] - mean) * scale
        trainer = kind.trainer(TrainingStart(directions, sample, k, schedule, dtype, batches))
        log: list[LogRow] = []
        for step in range(1, n_steps + 1):
            output = trainer.step(next(batches))
            if step % log_every == 0 or step in (1, n_steps):
                measured = _measure(output, trainer.dead_neurons)
                log.append(
                    {
                        "architecture": architecture,
                        "step": step,
                        "tokens": step * batch_size,
                        **measured,
                        "lr": schedule.lr_after(step - 1),
                    }
                )
                _check_finite(log[-1], layer)
                if on_step is not None:
                    on_step(log[-1])
            if on_progress is not None:
                on_progress(step * batch_size, n_steps * batch_size)
    record = {"hook_name": f"blocks.{layer}.hook_resid_post", **(metadata or {})}
    n_seen = n_steps * batch_size
    epochs = n_seen / len(buffer.rows) if buffer.holds_all else float(buffer.epochs or math.nan)
    return TrainedSAE(_fold(kind, trainer, k, mean.cpu(), scale, record), log, n_seen, epochs)


def _check(architecture: str, *, d_sae: int, k: int, **positive: int) -> None:
    if architecture not in TRAINABLE:
        cure = f"use {' or '.join(TRAINABLE)}"
        raise SettingsError(f"an SAE of architecture {architecture!r} cannot be trained", cure=cure)
    if not 0 < k <= d_sae:
        raise SettingsError(f"k = {k} is not between 1 and d_sae = {d_sae}", cure="choose a smaller k")
    for name, value in positive.items():
        if value < 1:
            raise SettingsError(f"{name} = {value} must be positive")


def _check_finite(row: LogRow, layer: int) -> None:
    if not math.isfinite(float(row["mse"])):
        raise NonFiniteError(
            f"SAE training diverged at step {row['step']}", where=f"layer {layer}", cure="set a smaller lr"
        )


def _directions(d_sae: int, d_in: int, seed: int) -> torch.Tensor:
    """Random decoder rows [d_sae, d_in] of length 1, the same on every device."""
    drawn = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


@torch.no_grad()
def _measure(output: TrainingStep, dead: torch.Tensor) -> dict[str, float]:
    """Figures of the batch just trained on, in normalised units."""
    x = output.sae_in.float()
    mse = (output.sae_out.float() - x).square().sum(1).mean().item()
    return {
        "mse": mse,
        "fvu": mse / max((x - x.mean(0)).square().sum(1).mean().item(), 1e-12),
        "l0": (output.feature_acts > 0).sum(1).double().mean().item(),
        "dead_share": dead.double().mean().item(),
    }


@torch.no_grad()
def _fold(
    kind: TrainableArchitecture, trainer: Trainer, k: int, mean: torch.Tensor, scale: float, metadata: dict[str, Any]
) -> SparseAutoencoder:
    """The trained SAE on raw residuals: with z = (x - mean) scale, decoder rows brought to length 1.

    a = (z - b_dec) W_enc + b_enc times the decoder norm (so topk chooses, in training too), divided by the scale.
    """
    weights = {name: weight.detach().float().cpu() for name, weight in trainer.weights().items()}
    norms = weights["W_dec"].norm(dim=1).clamp_min(1e-12)
    threshold = weights["threshold"].clamp_min(0) * norms / scale if kind.has_threshold else None
    return SparseAutoencoder(
        kind.name,
        W_enc=(weights["W_enc"] * norms).contiguous(),
        b_enc=weights["b_enc"] * norms / scale,
        W_dec=weights["W_dec"] / norms[:, None],
        b_dec=mean + weights["b_dec"] / scale,
        threshold=threshold,
        k=k if kind.has_k else None,
        scaling=scale,
        metadata=metadata,
    )
