"""JumpReLU: a threshold for each feature (Rajamanoharan et al., 2024, "Jumping ahead")."""

from torch import Tensor

from ato.saes.architectures.architecture import ENCODER_AND_DECODER, TrainableArchitecture, register, relu_above
from ato.saes.training.interface import Trainer, TrainingStart
from ato.saes.training.jumprelu import JumpReLUTrainer


@register
class JumpReLU(TrainableArchitecture):
    """``relu(pre)`` where ``pre > threshold``, 0 elsewhere.

    The penalty of its training draws the mean number of active features to k.
    """

    name = "jumprelu"
    has_threshold = True
    file_keys = (*ENCODER_AND_DECODER, "threshold")

    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        return relu_above(pre, threshold)

    def trainer(self, start: TrainingStart) -> Trainer:
        return JumpReLUTrainer(start)
