"""Whether a latent about an entity is carried from a lower layer at the same position, or computed in between."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.entities.chosen import activations_of
from ato.errors import InputError
from ato.numerics.intervals import EstimateArray, document_interval
from ato.numerics.scales import UNEXPLAINED
from ato.operators.operator import TransportOperator
from ato.saes.autoencoder import SparseAutoencoder


@dataclass(frozen=True)
class LatentTransport:
    """r2 of k latents' activations on n entities, predicted from a lower layer.

    With a the activation on the true residual and p that on the predicted one, both by the SAE's whole encoder:
    r2 = 1 - sum (p - a)^2 / sum (a - mean a)^2, the mean over the same entities; NaN where a does not vary on them.
    Verdicts of ``r2`` are those of ``ato.evaluation.verdicts``.
    """

    latents: np.ndarray
    """[k] int64."""
    n: int
    """Entities."""
    n_active: np.ndarray
    """[k] int64, entities on which the latent is active."""
    r2: EstimateArray
    """[k] through the operator, with its interval by entity."""
    r2_identity: EstimateArray
    """[k] of the source residual taken as the target; NaN where the layers differ in width."""
    r2_mean: EstimateArray
    """[k] of the mean target residual of these entities in place of each: at most 0, what knows nothing of the entity."""


@dataclass(frozen=True)
class EntityResiduals:
    """Residuals of n entities at one position, below and at the layer of the SAE; row i is the same entity.

    Raises:
        InputError: not [n, d] and [n, d'].
    """

    source: torch.Tensor
    """[n, d]."""
    target: torch.Tensor
    """[n, d']."""

    def __post_init__(self) -> None:
        if self.source.ndim != 2 or self.target.ndim != 2 or len(self.source) != len(self.target):
            shapes = f"{tuple(self.source.shape)} and {tuple(self.target.shape)}"
            raise InputError("source and target must have a row for each entity", where=shapes)


def latent_transport(
    residuals: EntityResiduals,
    operator: TransportOperator,
    sae: SparseAutoencoder,
    latents: Sequence[int] | np.ndarray,
) -> LatentTransport:
    """r2 of the activations of some latents through an operator, with those of the identity and of the mean.

    Args:
        residuals: of test entities.
        operator: from the source layer to the SAE's.
        sae: at the target layer.
        latents: [k] of the SAE.

    Raises:
        InputError: the operator reads another width.
        SAEError: the operator or the target has another width than the SAE.
    """
    latents = np.asarray(latents, dtype=np.int64).reshape(-1)
    true = activations_of(sae, residuals.target, latents).astype(np.float64)
    predicted = activations_of(sae, operator(residuals.source), latents).astype(np.float64)
    mean = activations_of(sae, residuals.target.mean(0, keepdim=True), latents).astype(np.float64)
    identity = np.full_like(true, np.nan)
    if residuals.source.shape[1] == sae.d_in:
        identity = activations_of(sae, residuals.source, latents).astype(np.float64)
    # The order of entities shall change no sum, nor shall what other latents are asked for.
    order = np.lexsort(residuals.target[:, :8].cpu().double().numpy().T)
    predictions = predicted, identity, np.broadcast_to(mean, true.shape)
    r2, r2_identity, r2_mean = (_r2(true[order], p[order]) for p in predictions)
    return LatentTransport(latents, len(true), (true > 0).sum(0), r2, r2_identity, r2_mean)


@dataclass(frozen=True)
class _Sums:
    """Sums by entity that r2 is made from."""

    n: np.ndarray
    a: np.ndarray
    aa: np.ndarray
    sse: np.ndarray


def _r2(true: np.ndarray, predicted: np.ndarray) -> EstimateArray:
    """r2 [k] from activations [n, k]."""
    if not len(true):
        missing = np.full(true.shape[1], np.nan)
        return EstimateArray(missing, missing, missing)
    a = true - true.mean(0)  # about the mean, so that squares do not cancel
    sse = (predicted - true) ** 2
    rounding = 1e-12 * (true**2).sum(0)

    def estimator(sums: _Sums) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            scatter = sums.aa - sums.a**2 / sums.n
            return 1 - sums.sse / np.where(scatter > rounding, scatter, np.nan)

    sums = _Sums(np.ones((len(a), 1)), a, a**2, sse)
    return document_interval(sums, estimator, sums.n, UNEXPLAINED)
