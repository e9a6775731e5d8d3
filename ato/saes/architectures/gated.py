"""Gated: one product decides whether a feature is active, another how much (Rajamanoharan et al., 2024)."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ato.saes.architectures.architecture import Architecture, register, relu_above


@register
class Gated(Architecture):
    """Gate ``z W + b_gate > 0`` and magnitude ``relu(z W e^r + b_mag)``.

    It is the same function as jumprelu with ``W_enc = W e^r``, ``b_enc = b_mag`` and
    ``threshold = b_mag - e^r b_gate`` ("Jumping ahead", appendix).
    """

    name = "gated"
    has_threshold = True
    file_keys = ("W_enc", "W_dec", "b_dec", "b_gate", "r_mag", "b_mag")

    def gate(self, pre: Tensor, threshold: Tensor | None, k: int | None) -> Tensor:
        return relu_above(pre, threshold)

    def fold(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Gate and magnitude as one encoder with a threshold."""
        gain = weights["r_mag"].exp()
        return {
            "W_enc": weights["W_enc"] * gain,
            "b_enc": weights["b_mag"],
            "W_dec": weights["W_dec"],
            "b_dec": weights["b_dec"],
            "threshold": weights["b_mag"] - gain * weights["b_gate"],
        }

    def unfold(self, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The inverse of ``fold`` with r_mag = 0."""
        b_enc = weights["b_enc"]
        gate = {"r_mag": torch.zeros_like(b_enc), "b_mag": b_enc, "b_gate": b_enc - weights["threshold"]}
        return {name: weights[name] for name in ("W_enc", "W_dec", "b_dec")} | gate
