"""SAEs of a model whose writing weights are centred, as SAEs of the model as published."""

from collections.abc import Mapping

import torch
from torch import Tensor


def centring_folded(weights: Mapping[str, Tensor], apply_b_dec_to_input: bool) -> dict[str, Tensor]:
    """Weights of an SAE of residuals without their mean over the dimensions, as of one that takes them with it.

    With P = I - 11'/d, encoder and bias become P W_enc and b_enc - b_dec (I - P) W_enc (the latter where b_dec is
    subtracted first), so that the activations on x are those of the given SAE on P x. The reconstruction stays centred.
    """
    mean = weights["W_enc"].mean(0, keepdim=True)  # (I - P) W_enc = 1 mean
    shift = weights["b_dec"].sum() * mean[0] if apply_b_dec_to_input else torch.zeros_like(weights["b_enc"])
    return {**weights, "W_enc": weights["W_enc"] - mean, "b_enc": weights["b_enc"] - shift}
