"""Training of sae-lens' SAEs: its losses by autograd, and the steps of its trainer with our schedule."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from ato.saes.training.activity import Activity
from ato.saes.training.interface import TrainingStart
from ato.saes.training.optimizer_state import optimizer_state, restore_optimizer
from ato.saes.training.resampling import FeatureWeights, restart_features
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
    """Trains one of sae-lens' training SAEs from given decoder rows, and their transpose as encoder.

    A step is that of sae-lens' ``SAETrainer``, to the bit where the learning rate is: mean squared error and the SAE's own
    losses, products in bfloat16 under autocast, Adam, clipped gradients, coefficients that warm up.

    Args:
        start: where it starts.
        make: from {"d_in", "d_sae", "device"} the training SAE; what it draws from the global generators is replaced,
            and their state stays as it was.
    """

    def __init__(self, start: TrainingStart, make: Callable[[dict[str, Any]], Any]):
        from sae_lens.saes.sae import TrainCoefficientConfig
        from sae_lens.training.optim import CoefficientScheduler

        d_sae, d_in = start.directions.shape
        device = start.directions.device
        with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
            self.sae = make({"d_in": d_in, "d_sae": d_sae, "device": str(device)})
        with torch.no_grad():
            self.sae.W_dec.copy_(start.directions)
            self.sae.W_enc.copy_(self.sae.W_dec.T)
        self._schedule, self._precision, self._device = start.schedule, start.precision, device
        self._optimizer = torch.optim.Adam(self.sae.parameters(), lr=start.schedule.lr)
        self._activity = Activity(d_sae, start.schedule, device)
        self._n_done = 0
        self.coefficients: dict[str, Any] = {}
        for name, of in self.sae.get_coefficients().items():
            config = of if isinstance(of, TrainCoefficientConfig) else TrainCoefficientConfig(of, 0)
            self.coefficients[name] = CoefficientScheduler(config.warm_up_steps, config.value)

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``."""
        return {name: getattr(self.sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec")}

    def state(self) -> dict[str, Tensor]:
        """Weights, moments of Adam, counts and coefficients, see ``Trainer``."""
        penalties = {
            f"coefficient.{name}": torch.tensor(
                [float(of.current_step), float(of.final_value), float(of.current_value)], dtype=torch.float64
            )
            for name, of in self.coefficients.items()
        }
        counts = self._activity.state() | {"n_done": torch.tensor(self._n_done)}
        return counts | penalties | optimizer_state(self._parameters, self._optimizer)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there, see ``Trainer``."""
        restore_optimizer(self._parameters, self._optimizer, state)
        self._activity.restore(state)
        self._n_done = int(state["n_done"])
        for name, of in self.coefficients.items():
            step, of.final_value, of.current_value = state[f"coefficient.{name}"].tolist()
            of.current_step = int(step)

    @property
    def _parameters(self) -> list[Tensor]:
        return list(self.sae.parameters())

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool."""
        return self._activity.dead

    def restart(self, features: Tensor, inputs: Tensor) -> None:
        """Start features anew, see ``Trainer``."""
        own = {name: parameter for name, parameter in self.sae.named_parameters() if name != "b_dec"}
        encoder, decoder = own.pop("W_enc"), own.pop("W_dec")
        thresholds = [own.pop("threshold")] if "threshold" in own else []
        weights = FeatureWeights(encoder, decoder, [*own.values()], thresholds, encoder_columns=True)
        restart_features(weights, features, inputs - self.sae.b_dec.detach(), ~self._activity.dead, self._optimizer)
        self._activity.forget(features)

    def step(self, x: Tensor) -> LensStep:
        """Change the weights by one batch [b, d_in]."""
        from sae_lens.saes.sae import TrainStepInput

        self.sae.train()
        with self._autocast():
            found = self.sae.training_forward_pass(
                TrainStepInput(
                    sae_in=x,
                    dead_neuron_mask=self._activity.dead,
                    coefficients={name: of.value for name, of in self.coefficients.items()},
                    n_training_steps=self._n_done,
                    is_logging_step=False,
                )
            )
        active = found.feature_acts.detach() > 0
        self._activity.update(active.sum(0))
        self._optimizer.zero_grad()
        found.loss.backward()
        if self._schedule.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._schedule.max_grad_norm)
        self._optimizer.param_groups[0]["lr"] = self._schedule.lr_after(self._n_done)
        self._optimizer.step()
        for of in self.coefficients.values():
            of.step()
        self._n_done += 1
        return LensStep(found.sae_in.detach(), found.sae_out.detach(), active.sum(1))

    def _autocast(self) -> contextlib.AbstractContextManager[Any]:
        if self._precision != torch.bfloat16:
            return contextlib.nullcontext()
        return torch.autocast(self._device.type, dtype=torch.bfloat16)


class PenaltyTrainer(LensTrainer):
    """A trainer whose L1 penalty is moved until k features are active in the mean, unless its coefficient is given.

    After the warm-up of the learning rate the coefficient is multiplied by ``(L0 / k) ** rate`` at each step, L0 being
    that of the batch: integral control, so that the L0 it ends with is k whatever the scale of the data. ``L0 / k`` counts as
    ``LIMIT`` at most, and its inverse at least: while most features are still active, as in the first steps, the
    coefficient would wind up and L0 fall far below k. The rate is ``RATE``, or more where a training has few steps, in
    which the coefficient has as far to go.

    Args:
        start: where it starts; its k is what is aimed at.
        make: from {"d_in", "d_sae", "device", "l1_coefficient", "l1_warm_up_steps"} the training SAE.
    """

    FIRST = 1.0
    """Coefficient to begin with; inputs have a mean norm of sqrt(d_in)."""
    RATE = 0.02
    REACH = 6.0
    """Powers of L0 / k by which the coefficient can move in a whole training, at least."""
    LIMIT = 1.5

    def __init__(self, start: TrainingStart, make: Callable[[dict[str, Any]], Any]):
        given = start.l1_coefficient
        penalty = {
            "l1_coefficient": self.FIRST if given is None else float(given),
            "l1_warm_up_steps": start.schedule.warm_up,
        }
        super().__init__(start, lambda shape: make(shape | penalty))
        self._k = start.k if given is None else None
        self._rate = max(self.RATE, self.REACH / start.schedule.n_steps)

    def step(self, x: Tensor) -> LensStep:
        """Change the weights by one batch, then the coefficient."""
        done = super().step(x)
        penalty = self.coefficients["l1"]
        if self._k is not None and penalty.current_step >= penalty.warm_up_steps:
            l0 = max(float(done.n_active.double().mean()), 1e-2)
            excess = min(max(l0 / self._k, 1 / self.LIMIT), self.LIMIT)
            penalty.final_value = penalty.current_value = penalty.final_value * excess**self._rate
        return done


def trainer_config(schedule: Schedule, device: str, dtype: torch.dtype) -> Any:
    """Settings of sae-lens' own trainer for a schedule whose learning rate falls in a line, to compare ours with it."""
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
