"""TopK: the k features with the largest pre-activations (Gao et al., 2024, "Scaling and evaluating sparse autoencoders")."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ato.saes.architectures.architecture import Architecture, register


@register
class TopK(Architecture):
    """``relu`` of the k largest entries of ``pre`` in each row, 0 elsewhere."""

    name = "topk"
    has_k = True
    file_settings = {"rescale_acts_by_decoder_norm": False}
    old_activation = "topk"

    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        value, feature = pre.topk(k or 0, dim=1, sorted=False)
        return torch.zeros_like(pre).scatter_(1, feature, value.relu_())

    def active(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> tuple[Tensor, Tensor, Tensor]:
        """As of every architecture, without a dense [n, d_sae] result."""
        value, feature = pre.topk(k or 0, dim=1, sorted=False)
        token = torch.arange(len(pre), device=pre.device)[:, None].expand_as(feature)
        positive = value > 0
        return token[positive], feature[positive], value[positive]

    def settings_of_old(self, config: Mapping[str, Any]) -> dict[str, Any]:
        return {"architecture": self.name, "k": (config.get("activation_fn_kwargs") or {}).get("k")}
