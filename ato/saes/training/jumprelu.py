"""Training JumpReLU autoencoders with sae-lens' trainer."""

from typing import Any

import torch
from torch import Tensor

from ato.saes.training.interface import TrainingStart
from ato.saes.training.schedule import Schedule

_JUMPRELU: dict[str, Any] = {
    # Inputs have norm sqrt(d_in), so that with decoder rows of length 1 pre-activations start with variance 1, and the
    # bandwidth is that of their spread. Without gradients to the encoder L0 ends far from its target, or features die.
    "jumprelu_bandwidth": 2.0,
    "jumprelu_ste_to_input": True,
    "jumprelu_sparsity_loss_mode": "quadratic",
    "l0_coefficient": 3.0,
}


class JumpReLUTrainer:
    """sae-lens' trainer of a JumpReLU SAE whose features number k in the mean over tokens."""

    def __init__(self, start: TrainingStart):
        from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig
        from sae_lens.training.sae_trainer import SAETrainer

        z, k = start.sample, start.k
        d_sae, d_in = start.directions.shape
        shape: dict[str, Any] = {"d_in": d_in, "d_sae": d_sae, "device": str(z.device)}
        # sae-lens draws weights, all replaced here, from the global generators: their state stays as it was.
        with torch.random.fork_rng(devices=[z.device] if z.is_cuda else []):
            self.sae = JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**shape, **_JUMPRELU, target_l0=float(k)))
        with torch.no_grad():
            self.sae.W_dec.copy_(start.directions)
            self.sae.W_enc.copy_(self.sae.W_dec.T)
            # Adam moves a threshold by lr a step at most: it has to start where k features are active.
            pre = z @ self.sae.W_enc
            self.sae.threshold.fill_(pre.flatten().topk(len(z) * k).values[-1].clamp_min(0).item())
        config = trainer_config(start.schedule, str(z.device), start.precision)
        self._trainer = SAETrainer(cfg=config, sae=self.sae, data_provider=start.batches)

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``."""
        return {name: getattr(self.sae, name) for name in ("W_enc", "b_enc", "W_dec", "b_dec", "threshold")}

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool."""
        return self._trainer.dead_neurons

    def step(self, x: Tensor) -> Any:
        """Change the weights by one batch [b, d_in]."""
        output = self._trainer.step(x)
        self._trainer.n_training_steps += 1
        return output


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
