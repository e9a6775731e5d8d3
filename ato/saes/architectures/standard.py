"""Standard: a linear layer and a ReLU (Bricken et al., 2023, "Towards monosemanticity")."""

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ato.saes.architectures.architecture import Architecture, register


@register
class Standard(Architecture):
    """``relu(pre)``."""

    name = "standard"
    old_activation = "relu"

    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        return pre.relu_()

    def settings_of_old(self, config: Mapping[str, Any]) -> dict[str, Any]:
        """Other architectures had a ReLU too, and said their own name."""
        return {"architecture": config.get("architecture", self.name)}
