"""The training of one SAE within a pass: its steps, its log, its dead features, and when it is over."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ato.errors import NonFiniteError
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.calibration import with_mean_l0
from ato.saes.training.early_stopping import EarlyStopping, variance_unexplained
from ato.saes.training.folding import fold
from ato.saes.training.inputs import TrainingInputs
from ato.saes.training.interface import TrainingStart, TrainingStep
from ato.saes.training.plan import LogRow, TrainingPlan
from ato.saes.training.resampling import LAST_SHARE, worst_inputs


class SAERun:
    """The training of one SAE.

    Args:
        plan: what is trained.
        inputs: that it is trained on.
        n_steps: steps at most.
        batch_size: tokens a step.
        precision: of the matrix products.
        where: place and SAE, for messages.
    """

    def __init__(
        self,
        plan: TrainingPlan,
        inputs: TrainingInputs,
        n_steps: int,
        batch_size: int,
        precision: torch.dtype,
        where: str,
    ):
        self._plan, self._inputs, self._where = plan, inputs, where
        self._schedule = plan.schedule(n_steps, batch_size)
        directions = _directions(plan.d_sae, len(inputs.mean), plan.seed).to(inputs.mean.device)
        self._trainer = plan.method.trainer(
            TrainingStart(
                directions,
                inputs.sample,
                plan.k,
                self._schedule,
                precision,
                l1_coefficient=plan.l1_coefficient,
                widths=plan.widths,
            )
        )
        self._stopping = None if plan.held_out_every is None else EarlyStopping(plan.patience)
        self._held_out = None if self._stopping is None else inputs.held_out()
        self._n_resampled = self._n_done = 0
        self._epochs = inputs.epochs(0)
        self.log: list[LogRow] = []

    @property
    def over(self) -> bool:
        """Whether it takes no more steps."""
        return self._n_done >= self._schedule.n_steps or (self._stopping is not None and self._stopping.stopped)

    @property
    def n_tokens(self) -> int:
        """Tokens trained on."""
        return self._n_done * self._schedule.batch_size

    @property
    def n_epochs(self) -> float:
        """Passes over the train split, see ``TrainedSAE``."""
        return self._epochs

    def step(self, batch: Tensor, log_every: int) -> LogRow | None:
        """Change the weights by one batch; returns the row that was appended to the log, if one was.

        Raises:
            NonFiniteError: the training diverged.
        """
        output = self._trainer.step(batch)
        self._n_done += 1
        self._check_finite(output.sae_out)
        step, n_steps, every = self._n_done, self._schedule.n_steps, self._plan.held_out_every
        measured = every is not None and (step % every == 0 or step == n_steps)
        logged = measured or step % log_every == 0 or step in (1, n_steps)
        dead_share = float(self._trainer.dead_neurons.double().mean()) if logged else None
        self._resample(output)
        fvu = self._measure_held_out() if measured else None
        self._epochs = self._inputs.epochs(self.n_tokens)
        if not logged:
            return None
        row: LogRow = {"architecture": self._plan.architecture, "step": step, "tokens": self.n_tokens}
        row |= figures(output) | {"dead_share": dead_share, "lr": self._schedule.lr_after(step - 1)}
        row |= {"n_resampled": self._n_resampled, "fvu_held_out": fvu}
        self.log.append(row)
        return row

    def sae(self, metadata: Mapping[str, Any]) -> SparseAutoencoder:
        """The SAE on raw residuals, as it is now.

        Raises:
            NonFiniteError: a weight is NaN or infinite.
        """
        return self._folded(self._trainer.weights(), metadata)

    def best_sae(self, metadata: Mapping[str, Any]) -> SparseAutoencoder:
        """The SAE of the lowest held-out FVU where that is measured, else as it is now; raises as ``sae``."""
        best = None if self._stopping is None else self._stopping.best
        return self._folded(best or self._trainer.weights(), metadata)

    def state(self) -> dict[str, Tensor]:
        """All that later steps depend on.

        Raises:
            NonFiniteError: a weight is NaN or infinite, so that nobody should go on from it.
        """
        for weight in self._trainer.weights().values():
            self._check_finite(weight)
        counts = [self._n_done, self._n_resampled, self._epochs]
        own = {"run.counts": torch.tensor(counts, dtype=torch.float64)}
        return own | self._trainer.state() | ({} if self._stopping is None else self._stopping.state())

    def restore(self, state: Mapping[str, Tensor], log: list[LogRow]) -> None:
        """Go on where ``state`` was taken."""
        n_done, n_resampled, self._epochs = state["run.counts"].tolist()
        self._n_done, self._n_resampled = int(n_done), int(n_resampled)
        self._trainer.restore(state)
        if self._stopping is not None:
            self._stopping.restore(state)
        self.log = log

    def _folded(self, weights: Mapping[str, Tensor], metadata: Mapping[str, Any]) -> SparseAutoencoder:
        for weight in weights.values():
            self._check_finite(weight)
        folded = fold(self._plan, weights, self._inputs.mean, self._inputs.scale, metadata)
        if not self._plan.method.calibrated:
            return folded
        return with_mean_l0(folded, self._inputs.calibration_rows, self._plan.k)

    def _check_finite(self, values: Tensor) -> None:
        if not math.isfinite(float(values.detach().sum())):
            cure = f"set a smaller lr than {self._plan.lr:g}"
            if self._plan.max_grad_norm is None or self._plan.max_grad_norm > 1:
                cure += ", or max_grad_norm of 1 or less"
            raise NonFiniteError(f"SAE training diverged at step {self._n_done}", where=self._where, cure=cure)

    def _resample(self, output: TrainingStep) -> None:
        """Start dead features anew on the worst inputs of the batch, at the steps at which that is due."""
        every = max(1, self._plan.resample_every // self._schedule.batch_size)
        due = self._plan.dead_features == "resample" and self._n_done % every == 0
        if not due or self._n_done > LAST_SHARE * self._schedule.n_steps:
            return
        dead = self._trainer.dead_neurons.nonzero()[:, 0]
        errors = (output.sae_out.float() - output.sae_in).square().sum(1)
        # As many as there are inputs at most: no two features start alike, and the others have their turn later.
        chosen = worst_inputs(errors, len(dead), (self._plan.seed, self._n_done))
        if len(chosen):
            self._trainer.restart(dead[: len(chosen)], output.sae_in[chosen])
            self._n_resampled += len(chosen)

    def _measure_held_out(self) -> float:
        assert self._stopping is not None  # both are there where held_out_every is set
        assert self._held_out is not None
        weights = self._trainer.weights()
        fvu = variance_unexplained(self._folded(weights, {}), self._held_out)
        self._stopping.update(fvu, weights)
        return fvu


def _directions(d_sae: int, d_in: int, seed: int) -> Tensor:
    """Random decoder rows [d_sae, d_in] of length 1, the same on every device."""
    drawn = torch.randn(d_sae, d_in, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.normalize(drawn, dim=1)


@torch.no_grad()
def figures(output: TrainingStep) -> dict[str, float]:
    """Figures of the batch just trained on, in normalised units."""
    x = output.sae_in.float()
    mse = (output.sae_out.float() - x).square().sum(1).mean().item()
    return {
        "mse": mse,
        "fvu": mse / max((x - x.mean(0)).square().sum(1).mean().item(), 1e-12),
        "l0": output.n_active.double().mean().item(),
    }
