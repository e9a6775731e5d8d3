"""Training with sae-lens' trainer: dense products, autograd, its losses and optimizer."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ato.saes.training.interface import TrainingStart
from ato.saes.training.optimizer_state import optimizer_state, restore_optimizer
from ato.saes.training.schedule import Schedule


@dataclass(frozen=True)
class LensStep:
    """One batch and what became of it, before the weights were changed."""

    sae_in: Tensor
    """[b, d_in]."""
    sae_out: Tensor
    """[b, d_in]."""
    n_active: Tensor
    """[b] features active on each token."""


class LensTrainer:
    """sae-lens' trainer of one SAE that starts with given decoder rows, and with their transpose as encoder.

    Args:
        start: where it starts.
        make: from {"d_in", "d_sae", "device"} the training SAE; what it draws from the global generators is replaced,
            and their state stays as it was.
    """

    def __init__(self, start: TrainingStart, make: Callable[[dict[str, Any]], Any]):
        from sae_lens.training.sae_trainer import SAETrainer

        d_sae, d_in = start.directions.shape
        device = start.directions.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            self.sae = make({"d_in": d_in, "d_sae": d_sae, "device": str(device)})
        with torch.no_grad():
            self.sae.W_dec.copy_(start.directions)
            self.sae.W_enc.copy_(self.sae.W_dec.T)
        config = trainer_config(start.schedule, str(device), start.precision)
        self._trainer = SAETrainer(cfg=config, sae=self.sae, data_provider=start.batches)

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``."""
        return {name: getattr(self.sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}

    def state(self) -> dict[str, Tensor]:
        """Weights, moments of Adam, counts and coefficients, see ``Trainer``."""
        trainer = self._trainer
        penalties = {
            f"coefficient.{name}": torch.tensor(
                [float(of.current_step), float(of.final_value), float(of.current_value)], dtype=torch.float64
            )
            for name, of in trainer.coefficient_schedulers.items()
        }
        counts = {
            "silent": trainer.n_forward_passes_since_fired,
            "n_done": torch.tensor(trainer.n_training_steps),
        }
        return counts | penalties | optimizer_state(self._parameters, trainer.optimizer)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there, see ``Trainer``; the steps of the learning rate are taken again, which gives the same rates."""
        trainer, n_done = self._trainer, int(state["n_done"])
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Detected call of `lr_scheduler.step")
            for _ in range(n_done):
                trainer.lr_scheduler.step()
        restore_optimizer(self._parameters, trainer.optimizer, state)
        trainer.n_training_steps = n_done
        trainer.n_forward_passes_since_fired.copy_(state["silent"])
        for name, of in trainer.coefficient_schedulers.items():
            step, of.final_value, of.current_value = state[f"coefficient.{name}"].tolist()
            of.current_step = int(step)

    @property
    def _parameters(self) -> list[Tensor]:
        return list(self.sae.parameters())

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool."""
        return self._trainer.dead_neurons

    def step(self, x: Tensor) -> LensStep:
        """Change the weights by one batch [b, d_in]."""
        output = self._trainer.step(x)
        self._trainer.n_training_steps += 1
        return LensStep(output.sae_in, output.sae_out, (output.feature_acts > 0).sum(1))


class PenaltyTrainer(LensTrainer):
    """A trainer whose L1 penalty is moved until k features are active in the mean.

    After the warm-up of the learning rate the coefficient is multiplied by ``(L0 / k) ** RATE`` at each step, L0 being
    that of the batch: integral control, so that the L0 it ends with is k whatever the scale of the data.

    Args:
        start: where it starts; its k is what is aimed at.
        make: from {"d_in", "d_sae", "device", "l1_coefficient", "l1_warm_up_steps"} the training SAE.
    """

    FIRST = 1.0
    """Coefficient to begin with; inputs have a mean norm of sqrt(d_in)."""
    RATE = 0.02

    def __init__(self, start: TrainingStart, make: Callable[[dict[str, Any]], Any]):
        warm_up = {"l1_coefficient": self.FIRST, "l1_warm_up_steps": start.schedule.warm_up}
        super().__init__(start, lambda shape: make(shape | warm_up))
        self._k = start.k

    @property
    def coefficient(self) -> float:
        """Of the L1 penalty, as it is now."""
        return float(self._trainer.coefficient_schedulers["l1"].current_value)

    def step(self, x: Tensor) -> LensStep:
        """Change the weights by one batch, then the coefficient."""
        done = super().step(x)
        penalty = self._trainer.coefficient_schedulers["l1"]
        if penalty.current_step >= penalty.warm_up_steps:
            l0 = max(float(done.n_active.double().mean()), 1e-2)
            penalty.final_value = penalty.current_value = penalty.final_value * (l0 / self._k) ** self.RATE
        return done


def trainer_config(schedule: Schedule, device: str, dtype: torch.dtype) -> Any:
    """Settings of sae-lens' trainer for a schedule."""
    from sae_lens.config import SAETrainerConfig

    return SAETrainerConfig(
        total_training_samples=schedule.n_steps * schedule.batch_size,
        train_batch_size_samples=schedule.batch_size,
        lr=schedule.lr,
        lr_end=schedule.lr / 10,  # None, the default, fails an assertion
        lr_warm_up_steps=schedule.warm_up,
        lr_decay_steps=schedule.decay,
        dead_feature_window=schedule.dead_steps,
        device=device,
        autocast=dtype == torch.bfloat16,
    )
