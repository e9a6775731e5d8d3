"""Training transcoders on pairs of two sites, in bounded memory."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor

from ato.errors import NonFiniteError, SettingsError
from ato.models.sites import Hook
from ato.numerics.devices import choose_device, choose_dtype
from ato.residuals.site_pairs import SitePairs, split_pairs
from ato.saes.training.checkpoints import Checkpoint, read_checkpoint
from ato.saes.training.choices import PerBatch, PerToken
from ato.saes.training.schedule import Schedule
from ato.saes.training.shuffle_buffer import ShuffleBuffer
from ato.saes.training.sparse import FIRST_NORM, SparseStep
from ato.saes.training.transcoder_steps import TranscoderTrainer
from ato.saes.transcoder import Transcoder

TRAINABLE_TRANSCODERS = {"topk": "topk", "batchtopk": "jumprelu"}
"""Architecture as settings have it -> that of the trained transcoder."""
DEAD_AFTER = 20_000
"""Tokens without activation after which a feature counts as dead and the auxiliary loss revives it."""
_NORM_ROWS = 4096

LogRow = dict[str, float | int | str]


@dataclass(frozen=True)
class TranscoderPlan:
    """One transcoder to train.

    Raises:
        SettingsError: settings that contradict each other.
    """

    architecture: Literal["topk", "batchtopk"] = "topk"
    """One of ``TRAINABLE_TRANSCODERS``."""
    skip: bool = False
    """Whether x also goes to y by a matrix."""
    d_sae: int = 2048
    """Number of features."""
    k: int = 32
    """Active features per token: exactly, or in the mean over a batch."""
    lr: float = 3e-3
    """Peak learning rate of Adam."""
    seed: int = 0
    """Of the initial weights."""

    def __post_init__(self) -> None:
        if self.architecture not in TRAINABLE_TRANSCODERS:
            cure = f"use {' or '.join(TRAINABLE_TRANSCODERS)}"
            raise SettingsError(f"a transcoder of architecture {self.architecture!r} cannot be trained", cure=cure)
        if not 0 < self.k <= self.d_sae:
            raise SettingsError(f"k = {self.k} is not between 1 and d_sae = {self.d_sae}", cure="choose a smaller k")

    def trainer(
        self, d_in: int, d_out: int, schedule: Schedule, precision: torch.dtype, device: object
    ) -> TranscoderTrainer:
        """With random encoder and decoder rows of length ``FIRST_NORM``, the same on every device."""
        generator = torch.Generator().manual_seed(self.seed)
        encoder, decoder = (
            FIRST_NORM * torch.nn.functional.normalize(torch.randn(self.d_sae, d, generator=generator), dim=1)
            for d in (d_in, d_out)
        )
        choice = PerToken(self.k) if self.architecture == "topk" else PerBatch(self.k)
        to = torch.device(str(device))
        return TranscoderTrainer(encoder.to(to), decoder.to(to), choice, schedule, precision, skip=self.skip)


@dataclass(frozen=True)
class TrainedTranscoder:
    """A trained transcoder and the log of its training."""

    transcoder: Transcoder
    """Takes raw values; decoder rows have length 1, so that activations are in units of y."""
    log: list[LogRow]
    """``step``, ``tokens``, ``mse`` and ``fvu`` of y in normalised units, ``l0``, ``dead_share`` and ``lr``."""
    n_tokens: int
    """Tokens trained on, repeats included."""


@dataclass(frozen=True)
class _Scaling:
    """z = (x - mean) scale of inputs, and the same of outputs."""

    mean: Tensor
    """[d_in + d_out]."""
    scale: Tensor
    """[d_in + d_out], two numbers repeated."""
    d_in: int

    @classmethod
    def of(cls, rows: Tensor, d_in: int) -> "_Scaling":
        """Mean 0 and a mean norm of sqrt(d) for both halves."""
        mean = rows.mean(0)
        norms = [
            torch.cat([half.norm(dim=1) for half in halves]).mean().item()
            for halves in zip(*(split_pairs(part - mean, d_in) for part in rows.split(_NORM_ROWS)), strict=True)
        ]
        widths = (d_in, rows.shape[1] - d_in)
        scales = [math.sqrt(width) / max(norm, 1e-12) for width, norm in zip(widths, norms, strict=True)]
        return cls(mean, torch.cat([mean.new_full((w,), s) for w, s in zip(widths, scales, strict=True)]), d_in)

    @torch.no_grad()
    def fold(self, trainer: TranscoderTrainer, plan: TranscoderPlan, metadata: Mapping[str, Any]) -> Transcoder:
        """The transcoder of raw values, decoder rows brought to length 1."""
        weights = {name: weight.detach().float().cpu() for name, weight in trainer.weights().items()}
        mean_x, mean_y = (part[0] for part in split_pairs(self.mean.cpu()[None], self.d_in))
        scale_x, scale_y = float(self.scale[0]), float(self.scale[-1])
        norms = weights["W_dec"].norm(dim=1).clamp_min(1e-12)
        W_enc = weights["W_enc"] * scale_x
        skip, b_dec = None, weights["b_dec"]
        if "W_skip" in weights:
            skip = weights["W_skip"] * (scale_x / scale_y)
            b_dec = b_dec - mean_x @ weights["W_skip"] * scale_x
        architecture = TRAINABLE_TRANSCODERS[plan.architecture]
        threshold = weights["threshold"].clamp_min(0) * norms / scale_y if architecture == "jumprelu" else None
        return Transcoder(
            architecture,
            W_enc=(W_enc * (norms / scale_y)).contiguous(),
            b_enc=(weights["b_enc"] - mean_x @ W_enc) * norms / scale_y,
            W_dec=weights["W_dec"] / norms[:, None],
            b_dec=mean_y + b_dec / scale_y,
            W_skip=skip,
            threshold=threshold,
            k=plan.k if architecture == "topk" else None,
            metadata={**metadata, **({} if architecture == plan.architecture else {"trained_as": plan.architecture})},
        )


def train_transcoders(
    source: SitePairs | Any,
    layer: int,
    plans: Sequence[TranscoderPlan],
    *,
    n_tokens: int = 600_000,
    batch_size: int = 1024,
    seed: int = 0,
    buffer_rows: int = 65_536,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[LogRow], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
) -> list[TrainedTranscoder]:
    """Train transcoders of one layer on the train split of a source of pairs, in one pass.

    Inputs and outputs are centred and scaled to mean norms of sqrt(d), by the first filling of the shuffle buffer; both
    are folded into the weights in the end. Schedule, losses and optimizer are those of ``train_saes``; equal arguments
    on equal pairs give equal weights on one machine, whatever else is trained in the same pass.

    Args:
        source: pairs, see ``SitePairs``, or another residual source with ``d_in``, ``site_in`` and ``site_out``.
        layer: whose MLP is replaced.
        plans: the transcoders; all see the same batches.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        seed: of the order of tokens.
        buffer_rows: pairs in the shuffle buffer, of (d_in + d_out) x 4 bytes each.
        device: where to train; auto takes cuda where there is one, else the CPU.
        precision: of the dense products, see ``train_saes``.
        log_every: steps between two rows of the log.
        metadata: kept with the transcoders, for example ``model_name``.
        on_step: called with each row of a log.
        checkpoint: file from which a stopped training goes on, to the same bits; a finished one takes no step.
        checkpoint_every: steps between two of them.

    Returns:
        One a plan, in their order.

    Raises:
        SettingsError: settings that contradict each other, or a checkpoint of other ones.
        CorpusError: no train tokens.
        NonFiniteError: values with NaN, or a training that diverged.
    """
    for name, value in {"n_tokens": n_tokens, "batch_size": batch_size, "log_every": log_every}.items():
        if value < 1:
            raise SettingsError(f"{name} = {value} must be positive")
    chosen = choose_device("cpu" if device == "auto" and not torch.cuda.is_available() else device)
    dtype, d_in, n_steps = choose_dtype(precision, chosen), source.d_in, max(1, n_tokens // batch_size)
    buffer = ShuffleBuffer(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed, device=chosen)
    scaling = _Scaling.of(buffer.rows, d_in)
    settings = {
        "transcoders": [asdict(plan) for plan in plans],
        "sites": [source.site_in, source.site_out],
        "layer": layer,
        "n_tokens": n_tokens,
        "batch_size": batch_size,
        "seed": seed,
        "buffer_rows": buffer_rows,
        "precision": str(dtype),
        "scales": [float(scaling.scale[0]), float(scaling.scale[-1])],
    }
    found = None if checkpoint is None else read_checkpoint(checkpoint)
    if found is not None and checkpoint is not None:
        found.check(settings, (), checkpoint)
    done = 0 if found is None else found.step
    with contextlib.closing(buffer):
        batches: Iterator[Tensor] = ((b - scaling.mean).mul_(scaling.scale) for b in buffer.batches(done))
        schedules = [Schedule(n_steps, batch_size, plan.lr, DEAD_AFTER) for plan in plans]
        d_out = buffer.rows.shape[1] - d_in
        trainers = [p.trainer(d_in, d_out, s, dtype, chosen) for p, s in zip(plans, schedules, strict=True)]
        logs: list[list[LogRow]] = [[] for _ in plans]
        if found is not None:
            logs = found.logs
            for trainer, state in zip(trainers, found.states, strict=True):
                trainer.restore(state)
        for step in range(done + 1, n_steps + 1):
            batch = next(batches)
            for plan, trainer, schedule, log in zip(plans, trainers, schedules, logs, strict=True):
                made = trainer.step(batch)
                if step % log_every == 0 or step in (1, n_steps):
                    row: LogRow = {"architecture": plan.architecture, "step": step, "tokens": step * batch_size}
                    log.append(row | _measured(made, trainer, layer, step) | {"lr": schedule.lr_after(step - 1)})
                    if on_step is not None:
                        on_step(log[-1])
            if checkpoint is not None and (step % checkpoint_every == 0 or step == n_steps):
                states = [trainer.state() for trainer in trainers]
                Checkpoint(step, settings, states, logs, (), torch.get_num_threads()).write(checkpoint)
    hooks = {
        "hook_name": Hook(source.site_in, layer).lens_name,
        "hook_name_out": Hook(source.site_out, layer).lens_name,
    }
    return [
        TrainedTranscoder(scaling.fold(trainer, plan, {**hooks, **(metadata or {})}), log, n_steps * batch_size)
        for plan, trainer, log in zip(plans, trainers, logs, strict=True)
    ]


@torch.no_grad()
def _measured(made: SparseStep, trainer: TranscoderTrainer, layer: int, step: int) -> LogRow:
    """Figures of the batch just trained on, in normalised units."""
    y = made.sae_in
    mse = (made.sae_out - y).square().sum(1).mean().item()
    if not math.isfinite(mse):
        what = f"transcoder training diverged at step {step}"
        raise NonFiniteError(what, where=f"layer {layer}", cure="set a smaller lr")
    return {
        "mse": mse,
        "fvu": mse / max((y - y.mean(0)).square().sum(1).mean().item(), 1e-12),
        "l0": made.n_active.double().mean().item(),
        "dead_share": trainer.dead_neurons.double().mean().item(),
    }
