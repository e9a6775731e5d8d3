"""Training transcoders on pairs of two sites, in bounded memory."""

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ato.models.sites import Hook
from ato.residuals.site_pairs import SitePairs
from ato.saes.training.checkpoints import CheckpointFile
from ato.saes.training.plan import LogRow
from ato.saes.training.trainer import Precision, check_counts, training_place
from ato.saes.training.training_pass import TrainingPass, Watching
from ato.saes.training.transcoder_plan import TranscoderPlan
from ato.saes.training.transcoder_run import TranscoderInputs, TranscoderRun
from ato.saes.transcoder import Transcoder

__all__ = ["TrainedTranscoder", "TranscoderPlan", "train_transcoders"]


@dataclass(frozen=True)
class TrainedTranscoder:
    """A trained transcoder and the log of its training."""

    transcoder: Transcoder
    """Takes raw values; decoder rows have length 1, so that activations are in units of y."""
    log: list[LogRow]
    """Rows of the table ``sae_training`` without its keys; ``mse`` and ``fvu`` are those of y in normalised units."""
    n_tokens: int
    """Tokens trained on, repeats included."""


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
    precision: Precision = "auto",
    log_every: int = 50,
    metadata: Mapping[str, Any] | None = None,
    on_step: Callable[[int, LogRow], None] | None = None,
    on_progress: Callable[[int, int], None] | None = None,
    checkpoint: Path | None = None,
    checkpoint_every: int = 500,
    on_note: Callable[[str], None] | None = None,
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
        on_step: called with the number of the plan and each row of its log.
        on_progress: called after each step with tokens done and tokens to do.
        checkpoint: file from which a stopped training goes on, to the same bits; a finished one takes no step.
        checkpoint_every: steps between two of them.
        on_note: called with what a user should know, such as a checkpoint made with another number of threads.

    Returns:
        One a plan, in their order.

    Raises:
        SettingsError: settings that contradict each other, or a checkpoint of other ones.
        CorpusError: no train tokens.
        NonFiniteError: values with NaN, or a training that diverged.
    """
    counts = {"n_tokens": n_tokens, "batch_size": batch_size, "log_every": log_every}
    n_steps = check_counts(counts | {"checkpoint_every": checkpoint_every}, plans)
    chosen, dtype = training_place(device, precision)
    inputs = TranscoderInputs(source, layer, rows=buffer_rows, batch_size=batch_size, seed=seed, device=chosen)
    order = {"layer": layer, "sites": [source.site_in, source.site_out], "seed": seed, "buffer_rows": buffer_rows}
    settings = (
        counts
        | order
        | {
            "precision": str(dtype),
            "scales": [inputs.scale_x, inputs.scale_y],
            "transcoders": [asdict(plan) for plan in plans],
        }
    )
    record = {
        "hook_name": Hook(source.site_in, layer).lens_name,
        "hook_name_out": Hook(source.site_out, layer).lens_name,
        **(metadata or {}),
    }
    with contextlib.closing(inputs):
        runs = [
            TranscoderRun(plan, inputs, n_steps, dtype, f"layer {layer}, transcoder {number}: {plan.label}")
            for number, plan in enumerate(plans)
        ]
        watching = Watching(log_every, on_step, on_progress, frozenset(), None, on_note)
        training = TrainingPass(runs, inputs, n_steps, watching, record)
        training.run(None if checkpoint is None else CheckpointFile(checkpoint, checkpoint_every, settings))
    return [TrainedTranscoder(run.sae(record), run.log, run.n_tokens) for run in runs]
