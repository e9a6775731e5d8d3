"""A trained SAE on raw residuals: the normalisation of its inputs goes into its weights."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ato.saes.architectures import find_architecture
from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.training.plan import TrainingPlan


@torch.no_grad()
def fold(
    plan: TrainingPlan, weights: Mapping[str, Tensor], mean: Tensor, scale: float, metadata: Mapping[str, Any]
) -> SparseAutoencoder:
    """The SAE on raw residuals x, from weights on z = (x - mean) scale; decoder rows are brought to length 1.

    a = (z - b_dec) W_enc + b_enc times the decoder norm (so topk chooses, in training too), divided by the scale.

    Args:
        plan: what was trained; ``trained_as`` of the metadata says its architecture where the SAE has another one.
        weights: what ``Trainer.weights`` gave.
        mean: [d_in] of the raw residuals.
        scale: factor of the inputs.
        metadata: kept with the SAE.
    """
    method = plan.method
    kind = find_architecture(method.architecture)
    own = {name: weight.detach().float().cpu() for name, weight in weights.items()}
    norms = own["W_dec"].norm(dim=1).clamp_min(1e-12)
    threshold = own["threshold"].clamp_min(0) * norms / scale if kind.has_threshold else None
    return SparseAutoencoder(
        kind.name,
        W_enc=(own["W_enc"] * norms).contiguous(),
        b_enc=own["b_enc"] * norms / scale,
        W_dec=own["W_dec"] / norms[:, None],
        b_dec=mean.cpu() + own["b_dec"] / scale,
        threshold=threshold,
        k=plan.k if kind.has_k else None,
        scaling=scale,
        metadata={**metadata} | ({} if method.architecture == method.name else {"trained_as": method.name}),
    )
