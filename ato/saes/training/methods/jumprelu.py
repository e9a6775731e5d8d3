"""JumpReLU: a threshold for each feature, drawn to k active features in the mean (Rajamanoharan et al., 2024)."""

from typing import Any

import torch
from torch import Tensor

from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.lens import LensTrainer
from ato.saes.training.methods.method import TrainingMethod, register

_JUMPRELU: dict[str, Any] = {
    # Inputs have norm sqrt(d_in), so that with decoder rows of length 1 pre-activations start with variance 1, and the
    # bandwidth is that of their spread. Without gradients to the encoder L0 ends far from its target, or features die.
    "jumprelu_bandwidth": 2.0,
    "jumprelu_ste_to_input": True,
    "jumprelu_sparsity_loss_mode": "quadratic",
    "l0_coefficient": 3.0,
}


class JumpReLUTrainer(LensTrainer):
    """sae-lens' trainer of a JumpReLU SAE whose features number k in the mean over tokens."""

    def __init__(self, start: TrainingStart):
        from sae_lens.saes.jumprelu_sae import JumpReLUTrainingSAE, JumpReLUTrainingSAEConfig

        z, k = start.sample, start.k
        super().__init__(
            start,
            lambda shape: JumpReLUTrainingSAE(JumpReLUTrainingSAEConfig(**shape, **_JUMPRELU, target_l0=float(k))),
        )
        with torch.no_grad():
            # Adam moves a threshold by lr a step at most: it has to start where k features are active.
            pre = z @ self.sae.W_enc
            self.sae.threshold.fill_(pre.flatten().topk(len(z) * k).values[-1].clamp_min(0).item())

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``."""
        return super().weights() | {"threshold": self.sae.threshold}


@register
class JumpReLU(TrainingMethod):
    """``JumpReLUTrainer``: the penalty draws the mean number of active features to k."""

    name = architecture = "jumprelu"
    calibrated = True

    def trainer(self, start: TrainingStart) -> Trainer:
        return JumpReLUTrainer(start)
