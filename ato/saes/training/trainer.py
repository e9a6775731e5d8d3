"""Training sparse autoencoders of any trainable architecture on a stream of residuals, in bounded memory."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch

from ato.errors import SettingsError
from ato.numerics.devices import choose_device, choose_dtype
from ato.residuals.blocks import ResidualSource
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.checkpoints import CheckpointFile
from ato.saes.training.inputs import TrainingInputs
from ato.saes.training.plan import LogRow, TrainedSAE, TrainingPlan
from ato.saes.training.run import SAERun
from ato.saes.training.training_pass import TrainingPass, Watching

__all__ = ["LogRow", "TrainedSAE", "TrainingPlan", "train_sae", "train_saes", "training_place"]

Precision = Literal["auto", "float32", "bfloat16"]


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
    precision: Precision = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
) -> TrainedSAE:
    """Train one SAE; ``train_saes`` says how, and takes the other settings of a ``TrainingPlan``.

    Args:
        source: residuals; only the train split is read, again for each epoch unless it fits the buffer.
        layer: layer to train on.
        architecture: one of ``ato.saes.training.methods.TRAINABLE``.
        d_sae: number of features.
        k: active features per token: exactly, or in the mean, as the architecture has it.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        lr: peak learning rate of Adam.
        seed: of the initial weights and of the order of tokens.
        buffer_rows: tokens in the shuffle buffer: the memory is buffer_rows x d_in x 4 bytes, where it trains.
        device: where to train; auto takes cuda where there is one, else the CPU.
        precision: of the matrix products, see ``train_saes``.
        log_every: steps between two rows of the log.
        metadata: kept with the SAE, for example ``model_name``.
        on_step: called with each row of the log.
        on_progress: called after each step with tokens done and tokens to do.

    Raises:
        SettingsError: settings that contradict each other.
        LayerError: a layer that the source has not.
        CorpusError: no train residuals.
        NonFiniteError: residuals with NaN, or a training that diverged.
    """
    (trained,) = train_saes(
        source,
        layer,
        [TrainingPlan(architecture, d_sae, k, lr, seed)],
        n_tokens=n_tokens,
        batch_size=batch_size,
        seed=seed,
        buffer_rows=buffer_rows,
        device=device,
        precision=precision,
        log_every=log_every,
        metadata=metadata,
        on_step=None if on_step is None else lambda _, row: on_step(row),
        on_progress=on_progress,
    )
    return trained


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
    precision: Precision = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[int, LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    snapshots_at: Sequence[int] = (),
    on_snapshot: Callable[[int, int, SparseAutoencoder], None] | None = None,
    on_note: Callable[[str], None] | None = None,
) -> list[TrainedSAE]:
    """Train SAEs on the train split of a source in one pass, with the losses and the optimizer of sae-lens.

    Residuals are centred by their mean and scaled to a mean norm of sqrt(d_in), both estimated on the first filling
    of the shuffle buffer; an SAE starts with a decoder bias equal to that mean. Both are folded into the weights in
    the end. By default the learning rate rises over the first 5 % of the steps and falls to 0 over the last 30 %. Equal
    arguments on equal residuals give equal weights on one machine, whatever else is trained in the same pass, and the
    global random state is left alone.

    Args:
        source: residuals; the train split is read, again for each epoch unless it fits the buffer, and the beginning of the
            val split where a plan has ``held_out_every``.
        layer: layer to train on.
        plans: the SAEs; all see the same batches.
        n_tokens: tokens to train on, repeats included.
        batch_size: tokens a step.
        seed: of the order of tokens.
        buffer_rows: tokens in the shuffle buffer: the memory is buffer_rows x d_in x 4 bytes, where it trains.
        device: where to train; auto takes cuda where there is one, else the CPU.
        precision: of the matrix products; auto takes bfloat16 where the processor multiplies it natively (about
            three times as fast, and no worse in variance explained), else float32. Weights, thresholds, scales and sums are
            float32.
        log_every: steps between two rows of a log.
        metadata: kept with the SAEs, for example ``model_name``.
        on_step: called with the number of the plan and each row of its log.
        on_progress: called after each step with tokens done and tokens to do.
        checkpoint: file from which a training that was stopped goes on, and which is replaced on the way; the weights are
            those of a training that was not stopped, to the bit. A finished training takes no step.
        checkpoint_every: steps between two of them; there is one after each snapshot too.
        snapshots_at: steps after which the SAEs are handed out as they are; 0 is before the first. None comes of an SAE
            that has stopped early.
        on_snapshot: called with the number of the plan, the step and the SAE on raw residuals. A checkpoint follows
            each snapshot, so that a training that goes on hands out each of them once; only one that was killed between the
            two comes again, equal to the bit.
        on_note: called with what a user should know, such as a checkpoint made with another number of threads.

    Returns:
        One a plan, in their order.

    Raises:
        SettingsError: settings that contradict each other, or a checkpoint of other ones.
        DamagedFileError: a checkpoint that cannot be read.
        LayerError: a layer that the source has not.
        CorpusError: no train residuals, or no val residuals where the held-out FVU is to be measured.
        NonFiniteError: residuals with NaN, or a training that diverged: at which step, of which SAE, and what to set.
    """
    counts = {"n_tokens": n_tokens, "batch_size": batch_size, "log_every": log_every}
    n_steps = check_counts(counts | {"checkpoint_every": checkpoint_every}, plans, snapshots_at)
    chosen, dtype = training_place(device, precision)
    inputs = TrainingInputs(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed, device=chosen)
    order = {"layer": layer, "seed": seed, "buffer_rows": buffer_rows, "scale": inputs.scale}
    settings = counts | order | {"precision": str(dtype), "saes": [asdict(plan) for plan in plans]}
    record = {"hook_name": f"blocks.{layer}.hook_resid_post", **(metadata or {})}
    watching = Watching(log_every, on_step, on_progress, frozenset(snapshots_at), on_snapshot, on_note)
    with contextlib.closing(inputs):
        runs = [
            SAERun(plan, inputs, n_steps, batch_size, dtype, f"layer {layer}, SAE {number}: {plan.label}")
            for number, plan in enumerate(plans)
        ]
        training = TrainingPass(runs, inputs, n_steps, watching, record)
        training.run(None if checkpoint is None else CheckpointFile(checkpoint, checkpoint_every, settings))
    return [TrainedSAE(run.best_sae(record), run.log, run.n_tokens, run.n_epochs) for run in runs]


def training_place(device: str, precision: Precision) -> tuple[torch.device, torch.dtype]:
    """Where, and in which precision of the products, SAEs are trained on this machine; arguments as of ``train_saes``."""
    chosen = choose_device("cpu" if device == "auto" and not torch.cuda.is_available() else device)
    return chosen, choose_dtype(precision, chosen)


def check_counts(counts: Mapping[str, int], plans: Sequence[TrainingPlan], snapshots_at: Sequence[int] = ()) -> int:
    """Number of steps; refuses what contradicts itself."""
    for name, value in counts.items():
        if value < 1:
            raise SettingsError(f"{name} = {value} must be positive")
    if not plans:
        raise SettingsError("nothing is to be trained", cure="give at least one plan")
    n_steps = max(1, counts["n_tokens"] // counts["batch_size"])
    if beyond := sorted(step for step in snapshots_at if not 0 <= step <= n_steps):
        raise SettingsError(f"snapshots at {beyond} are not among the steps 0 to {n_steps}", cure="leave them out")
    return n_steps
