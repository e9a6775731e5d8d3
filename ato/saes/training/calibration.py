"""Thresholds of a trained SAE or transcoder brought to k active features in the mean."""

from dataclasses import replace
from typing import TypeVar

import torch
from torch import Tensor

from ato.saes.autoencoder import SparseAutoencoder
from ato.saes.transcoder import Transcoder

ROWS = 4096
"""Train residuals that thresholds are set on: the mean L0 of so many is known to about 1 %."""
_PART = 256
_LEAST = 1e-12
"""Stands for a threshold of 0, which no factor raises."""

Calibrated = TypeVar("Calibrated", SparseAutoencoder, Transcoder)


@torch.no_grad()
def with_mean_l0(sae: Calibrated, rows: Tensor, k: int) -> Calibrated:
    """The SAE with all thresholds multiplied by the one factor at which k features are active in the mean over rows.

    For BatchTopK that is the smallest value that the k n largest of all n rows hold, where training has followed the
    average over batches while the weights still moved; for JumpReLU it takes away what the balance of its penalty and
    the squared error leaves beside the target. Features that no factor silences (threshold 0) stay as they are.

    Args:
        sae: SAE or transcoder with thresholds.
        rows: [n, d_in] raw inputs of the train split, drawn at random.
        k: what the mean over rows of active features shall be.
    """
    assert sae.threshold is not None
    on = sae.to(rows.device)
    assert on.threshold is not None
    wanted, largest = k * len(rows), rows.new_empty(0, dtype=torch.float32)
    for part in rows.split(_PART):
        pre = on.pre_activations(part)
        ratio = (pre / on.threshold.clamp_min(_LEAST))[pre > 0]
        joined = torch.cat([largest, ratio])
        largest = joined.topk(min(wanted + 1, len(joined)), sorted=False).values
    if len(largest) <= wanted:  # fewer are positive at all
        factor = 0.0
    else:
        last, first_out = largest.topk(2, largest=False).values.flip(0).double().tolist()
        factor = (last + first_out) / 2
    record = {**sae.metadata, "threshold_factor": factor, "calibrated_l0": k}
    changed: Calibrated = replace(sae, threshold=sae.threshold * factor, metadata=record)
    return changed
