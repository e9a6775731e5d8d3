"""Training sparse autoencoders of any trainable architecture on a stream of residuals, in bounded memory."""

import contextlib
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch

from ato.errors import NonFiniteError, SettingsError
from ato.numerics.devices import choose_device, choose_dtype
from ato.residuals.blocks import ResidualSource
from ato.saes.architectures import find_architecture
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.checkpoints import Checkpoint, read_checkpoint
from ato.saes.training.interface import Trainer, TrainingStart, TrainingStep
from ato.saes.training.methods import TRAINABLE, TrainingMethod
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


@dataclass(frozen=True)
class TrainingPlan:
    """One SAE to train.

    Raises:
        SettingsError: settings that contradict each other.
    """

    architecture: str = "topk"
    """One of ``ato.saes.training.methods.TRAINABLE``."""
    d_sae: int = 2048
    """Number of features."""
    k: int = 32
    """Active features per token: exactly, or in the mean, as the architecture has it."""
    lr: float = 3e-3
    """Peak learning rate of Adam."""
    seed: int = 0
    """Of the initial weights."""

    def __post_init__(self) -> None:
        if self.architecture not in TRAINABLE:
            cure = f"use {' or '.join(TRAINABLE)}"
            raise SettingsError(f"an SAE of architecture {self.architecture!r} cannot be trained", cure=cure)
        if not 0 < self.k <= self.d_sae:
            what = f"k = {self.k} is not between 1 and d_sae = {self.d_sae}"
            raise SettingsError(what, cure="choose a smaller k")

    @property
    def method(self) -> TrainingMethod:
        """How it is trained."""
        return TRAINABLE[self.architecture]


def train_saes(
    source: ResidualSource,
    layer: int,
    plans: Sequence[TrainingPlan],
    *,
    n_tokens: int = 600_000,
    batch_size: int = 1024,
    seed: int = 0,
    buffer_rows: int = 131_072,
    device: str = "auto",
    precision: Literal["auto", "float32", "bfloat16"] = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    on_note: Callable[[str], None] | None = None,
) -> list[TrainedSAE]:
    """Train SAEs on the train split of a source in one pass, with the losses and the optimizer of sae-lens.

    Residuals are centred by their mean and scaled to a mean norm of sqrt(d_in), both estimated on the first filling
    of the shuffle buffer; an SAE starts with a decoder bias equal to that mean. Both are folded into the weights in
    the end. The learning rate rises over the first 5 % of the steps and falls to 0 over the last 30 %. Equal
    arguments on equal residuals give equal weights on one machine, whatever else is trained in the same pass, and the
    global random state is left alone.

    Args:
        source: residuals; only the train split is read, again for each epoch unless it fits the buffer.
        layer: layer to train on.
        plans: the SAEs; all see the same batches.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        seed: of the order of tokens.
        buffer_rows: tokens in the shuffle buffer: the memory is buffer_rows x d_in x 4 bytes, where it trains.
        device: where to train; auto takes cuda where there is one, else the CPU.
        precision: of the matrix products; auto takes bfloat16 where the processor multiplies it natively (about
            three times as fast, and no worse in variance explained), else float32. The weights are float32.
        log_every: steps between two rows of the log.
        metadata: kept with the SAEs, for example ``model_name``.
        on_step: called with each row of a log.
        on_progress: called after each step with tokens done and tokens to do.
        checkpoint: file from which a training that was stopped goes on, and which is replaced on the way; the weights are
            those of a training that was not stopped, to the bit. A finished training takes no step.
        checkpoint_every: steps between two of them.
        on_note: called with what a user should know, such as a checkpoint made with another number of threads.

    Returns:
        One a plan, in their order.

    Raises:
        SettingsError: settings that contradict each other, or a checkpoint of other ones.
        DamagedFileError: a checkpoint that cannot be read.
        CorpusError: no train residuals.
        NonFiniteError: residuals with NaN, or a training that diverged.
    """
    for name, value in {"n_tokens": n_tokens, "batch_size": batch_size, "log_every": log_every}.items():
        if value < 1:
            raise SettingsError(f"{name} = {value} must be positive")
    chosen = choose_device("cpu" if device == "auto" and not torch.cuda.is_available() else device)
    buffer = ShuffleBuffer(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed, device=chosen)
    mean = buffer.rows.mean(0)
    # In parts: the centred rows of a whole buffer would take as much memory as the buffer.
    norms = torch.cat([(rows - mean).norm(dim=1) for rows in buffer.rows.split(_NORM_ROWS)])
    scale = math.sqrt(len(mean)) / max(norms.mean().item(), 1e-12)
    n_steps = max(1, n_tokens // batch_size)
    dtype = choose_dtype(precision, chosen)
    sample = (buffer.rows[:_SAMPLE_ROWS] - mean) * scale
    settings = {
        "layer": layer,
        "saes": [asdict(plan) for plan in plans],
        "n_tokens": n_tokens,
        "batch_size": batch_size,
        "seed": seed,
        "buffer_rows": buffer_rows,
        "precision": str(dtype),
        "scale": scale,
    }
    found = None if checkpoint is None else read_checkpoint(checkpoint, str(chosen))
    done = 0 if found is None else found.step
    if found is not None and checkpoint is not None:
        found.check(settings, checkpoint)
        if on_note is not None:
            on_note(f"goes on after step {done:,} of {n_steps:,}{_other_threads(found.n_threads)}")
    with contextlib.closing(buffer):
        batches = ((batch - mean).mul_(scale) for batch in buffer.batches(done))
        runs = [
            _Run(plan, Schedule(n_steps, batch_size, plan.lr, DEAD_AFTER), (sample, batches), dtype) for plan in plans
        ]
        if found is not None:
            for run, state, log in zip(runs, found.states, found.logs, strict=True):
                run.trainer.restore(state)
                run.log = log
        for step in range(done + 1, n_steps + 1):
            batch = next(batches)
            for run in runs:
                output = run.trainer.step(batch)
                if step % log_every == 0 or step in (1, n_steps):
                    run.log_step(step, output, layer)
                    if on_step is not None:
                        on_step(run.log[-1])
            if checkpoint is not None and (step % checkpoint_every == 0 or step == n_steps):
                states, logs = [run.trainer.state() for run in runs], [run.log for run in runs]
                Checkpoint(step, settings, states, logs, torch.get_num_threads()).write(checkpoint)
            if on_progress is not None:
                on_progress(step * batch_size, n_steps * batch_size)
    record = {"hook_name": f"blocks.{layer}.hook_resid_post", **(metadata or {})}
    n_seen = n_steps * batch_size
    epochs = n_seen / len(buffer.rows) if buffer.holds_all else float(buffer.epochs or math.nan)
    return [TrainedSAE(run.fold(mean.cpu(), scale, record), run.log, n_seen, epochs) for run in runs]


def train_sae(source: ResidualSource, layer: int, *, seed: int = 0, **settings: Any) -> TrainedSAE:
    """Train one SAE, see ``train_saes``.

    Args:
        source: residuals.
        layer: layer to train on.
        seed: of the initial weights and of the order of tokens.
        settings: others of ``TrainingPlan`` and of ``train_saes``.
    """
    own = {field.name for field in fields(TrainingPlan)}
    plan = TrainingPlan(seed=seed, **{name: value for name, value in settings.items() if name in own})
    others = {name: value for name, value in settings.items() if name not in own}
    return train_saes(source, layer, [plan], seed=seed, **others)[0]


def _other_threads(then: int) -> str:
    now = torch.get_num_threads()
    return "" if then == now else f"; it had {then} threads and has {now}: sums may be rounded another way"


class _Run:
    """The training of one SAE."""

    def __init__(
        self,
        plan: TrainingPlan,
        schedule: Schedule,
        inputs: tuple[torch.Tensor, Iterator[torch.Tensor]],
        dtype: torch.dtype,
    ):
        sample, batches = inputs
        self._plan, self._schedule = plan, schedule
        directions = _directions(plan.d_sae, sample.shape[1], plan.seed).to(sample.device)
        start = TrainingStart(directions, sample, plan.k, schedule, dtype, batches)
        self.trainer = plan.method.trainer(start)
        self.log: list[LogRow] = []

    def log_step(self, step: int, output: TrainingStep, layer: int) -> None:
        """Append a row to the log.

        Raises:
            NonFiniteError: the training diverged.
        """
        row: LogRow = {"architecture": self._plan.architecture, "step": step}
        row |= {"tokens": step * self._schedule.batch_size, **_measure(output, self.trainer.dead_neurons)}
        self.log.append(row | {"lr": self._schedule.lr_after(step - 1)})
        _check_finite(self.log[-1], layer)

    def fold(self, mean: torch.Tensor, scale: float, metadata: dict[str, Any]) -> SparseAutoencoder:
        """The SAE on raw residuals."""
        method = self._plan.method
        if method.architecture != method.name:
            metadata = {**metadata, "trained_as": method.name}
        return _fold(method.architecture, self.trainer, self._plan.k, mean, scale, metadata)


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
        "l0": output.n_active.double().mean().item(),
        "dead_share": dead.double().mean().item(),
    }


@torch.no_grad()
def _fold(
    architecture: str, trainer: Trainer, k: int, mean: torch.Tensor, scale: float, metadata: dict[str, Any]
) -> SparseAutoencoder:
    """The trained SAE on raw residuals: with z = (x - mean) scale, decoder rows brought to length 1.

    a = (z - b_dec) W_enc + b_enc times the decoder norm (so topk chooses, in training too), divided by the scale.
    """
    kind = find_architecture(architecture)
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
