"""JumpReLU: a threshold for each feature (Rajamanoharan et al., 2024, "Jumping ahead")."""

from torch import Tensor

from ato.saes.architectures.architecture import ENCODER_AND_DECODER, Architecture, register, relu_above


@register
class JumpReLU(Architecture):
    """``relu(pre)`` where ``pre > threshold``, 0 elsewhere."""

    name = "jumprelu"
    has_threshold = True
    file_keys = (*ENCODER_AND_DECODER, "threshold")

    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        return relu_above(pre, threshold)
