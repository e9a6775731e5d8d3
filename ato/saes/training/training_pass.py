"""One pass over the batches that trains several SAEs or transcoders: their steps, snapshots, checkpoints, and who is told of them."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ato.saes.training.checkpoints import CheckpointFile
from ato.saes.training.interface import Inputs, Run
from ato.saes.training.plan import LogRow


@dataclass(frozen=True)
class Watching:
    """What is logged, and who is called with what; the arguments of ``train_saes`` and ``train_transcoders``."""

    log_every: int
    on_step: Callable[[int, LogRow], None] | None
    on_progress: Callable[[int, int], None] | None
    snapshots_at: frozenset[int]
    on_snapshot: Callable[[int, int, Any], None] | None
    on_note: Callable[[str], None] | None


class TrainingPass:
    """Steps of several SAEs or transcoders on the same batches.

    Args:
        runs: their trainings.
        inputs: the batches.
        n_steps: steps at most.
        watching: who is told.
        record: metadata of what is handed out.
    """

    def __init__(
        self,
        runs: Sequence[Run],
        inputs: Inputs,
        n_steps: int,
        watching: Watching,
        record: Mapping[str, Any],
    ):
        self._runs, self._inputs, self._n_steps = runs, inputs, n_steps
        self._watching, self._record = watching, record

    def run(self, checkpoints: CheckpointFile | None) -> None:
        """Train until all are over, from where the checkpoint is if there is one; errors as in ``train_saes``."""
        watching, batch_size = self._watching, self._inputs.batch_size
        found = None if checkpoints is None else checkpoints.restore(self._runs, watching.snapshots_at)
        if found is not None and watching.on_note is not None:
            watching.on_note(found.note(self._n_steps))
        if found is None:
            self._hand_out(0, self._runs, checkpoints)
        done = 0 if found is None else found.step
        batches = self._inputs.batches(done)
        for step in range(done + 1, self._n_steps + 1):
            training = [run for run in self._runs if not run.over]
            if not training:
                break
            batch = next(batches)
            for run in training:
                row = run.step(batch, watching.log_every)
                if row is not None and watching.on_step is not None:
                    watching.on_step(self._runs.index(run), row)
            self._hand_out(step, training, checkpoints)
            if watching.on_progress is not None:
                watching.on_progress(step * batch_size, self._n_steps * batch_size)

    def _hand_out(self, step: int, training: Sequence[Run], checkpoints: CheckpointFile | None) -> None:
        """Snapshots and the checkpoint of a step, where they are due: a checkpoint follows each snapshot."""
        watching = self._watching
        snapshot = watching.on_snapshot is not None and step in watching.snapshots_at
        if watching.on_snapshot is not None and snapshot:
            for run in training:
                watching.on_snapshot(self._runs.index(run), step, run.sae(self._record))
        if checkpoints is not None and (snapshot or checkpoints.due(step) or all(run.over for run in self._runs)):
            checkpoints.write(step, self._runs, sorted(of for of in watching.snapshots_at if of <= step))
