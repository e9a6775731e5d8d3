"""Gradient steps of a TopK sparse autoencoder that touch only the active features; the encoder's product alone is dense.

The loss, the auxiliary loss for dead features, Adam and the clipping are those of sae-lens' trainer, the gradients are
written out: with k of d_sae features active a token, five of its six matrix products have sparse factors, and nothing
but the pre-activations is ever [tokens, d_sae].
"""

import warnings
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ato.saes.training.schedule import Schedule

# sampled_addmm is the one operation used here; the warning is about the sparse interface as a whole.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

_LARGEST_GRADIENT = 1.0
"""Norm of all gradients together to which they are clipped."""


@dataclass(frozen=True)
class TopKStep:
    """One batch and what became of it, before the weights were changed."""

    sae_in: Tensor
    """[b, d_in]."""
    sae_out: Tensor
    """[b, d_in]."""
    feature_acts: Tensor
    """[b, k] activations of the k largest features, 0 where they are negative."""


class TopKTrainer:
    """Trains ``sae_out = sum over the k largest features of relu(pre) W_dec + b_dec``, pre = (x - b_dec) W_enc + b_enc.

    The largest are chosen by pre times the norm of their decoder rows. The loss is the mean over tokens of the squared
    error, plus that of what dead features make of the error (Gao et al., 2024, appendix A.2).

    Args:
        directions: [d_sae, d_in], where decoder and encoder start.
        k: active features a token.
        schedule: of the learning rate.
        precision: of the dense products; the weights are float32.
    """

    def __init__(self, directions: Tensor, k: int, schedule: Schedule, precision: torch.dtype = torch.float32):
        d_sae, d_in = directions.shape
        self.W_dec, self._encoder = directions.clone(), directions.clone()
        self.b_enc, self.b_dec = directions.new_zeros(d_sae), directions.new_zeros(d_in)
        self._parameters = [self._encoder, self.b_enc, self.W_dec, self.b_dec]
        self._optimizer = torch.optim.Adam(self._parameters, lr=schedule.lr, fused=True)
        self._k, self._schedule, self._precision = k, schedule, precision
        self._steps_silent = directions.new_zeros(d_sae)
        self._n_done = 0

    @property
    def W_enc(self) -> Tensor:
        """[d_in, d_sae]."""
        return self._encoder.T

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``."""
        return {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool."""
        return self._steps_silent > self._schedule.dead_steps

    @torch.no_grad()
    def step(self, x: Tensor) -> TopKStep:
        """Change the weights by one batch [b, d_in]."""
        z = x - self.b_dec
        pre = self._product(z, self._encoder.T).float().add_(self.b_enc)
        norms = self.W_dec.norm(dim=1)
        largest, feature = (pre * norms).topk(self._k, dim=1, sorted=False)
        acts = largest.relu_().div_(norms[feature])
        out = embedding_bag(feature, self.W_dec, mode="sum", per_sample_weights=acts).add_(self.b_dec)
        error = out - x
        pull = error * (2 / len(x))
        of_pre = _at_features(pull, self.W_dec.T, feature).mul_(acts > 0)
        by_feature = _ByFeature(feature, len(self.W_dec))
        gradients = [
            by_feature.sum(of_pre, z),
            by_feature.values_sum(of_pre),
            by_feature.sum(acts, pull),
            pull.sum(0),
        ]
        dead = self.dead_neurons.nonzero()[:, 0]
        if len(dead):
            self._add_revival(gradients, dead, z, pre, norms, error)
        gradients[3] -= gradients[1] @ self._encoder  # z holds b_dec too
        self._steps_silent += 1
        self._steps_silent[feature[acts > 0]] = 0
        self._descend(gradients)
        self._n_done += 1
        return TopKStep(x, out, acts)

    def _add_revival(
        self, gradients: list[Tensor], dead: Tensor, z: Tensor, pre: Tensor, norms: Tensor, error: Tensor
    ) -> None:
        """Add the gradients of the auxiliary loss: dead features, d_in / 2 a token at most, rebuild the error."""
        most = z.shape[1] // 2
        acts, rows = pre[:, dead], self.W_dec[dead]
        if len(dead) > most:
            chosen = (acts * norms[dead]).topk(most, dim=1, sorted=False).indices
            acts = torch.zeros_like(acts).scatter_(1, chosen, acts.gather(1, chosen))
        pull = (self._product(acts, rows) + error) * (2 / len(z) * min(len(dead) / most, 1.0))
        of_pre = self._product(pull, rows.T)
        if len(dead) > most:
            of_pre = torch.zeros_like(of_pre).scatter_(1, chosen, of_pre.gather(1, chosen))
        added = self._product(of_pre.T, z), of_pre.float().sum(0), self._product(acts.T, pull)
        for gradient, more in zip(gradients, added):
            gradient.index_add_(0, dead, more.float())

    def _descend(self, gradients: list[Tensor]) -> None:
        for parameter, gradient in zip(self._parameters, gradients, strict=True):
            parameter.grad = gradient
        torch.nn.utils.clip_grad_norm_(self._parameters, _LARGEST_GRADIENT)
        self._optimizer.param_groups[0]["lr"] = self._schedule.lr_after(self._n_done)
        self._optimizer.step()

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        return a.to(self._precision) @ b.to(self._precision)


def _at_features(rows: Tensor, columns: Tensor, feature: Tensor) -> Tensor:
    """rows [b, d] times columns [d, d_sae] at the features [b, k] of each row."""
    b, k = feature.shape
    starts = torch.arange(0, b * k + 1, k, device=feature.device)
    shape = b, columns.shape[1]
    places = torch.sparse_csr_tensor(starts, feature.flatten(), rows.new_zeros(b * k), shape, check_invariants=False)
    return torch.sparse.sampled_addmm(places, rows, columns, beta=0.0).values().view(b, k)


class _ByFeature:
    """The entries of a batch [b, k] regrouped by feature: sums over tokens become sums over consecutive entries."""

    def __init__(self, feature: Tensor, d_sae: int):
        self._order = feature.flatten().argsort(stable=True)
        self._token = self._order // feature.shape[1]
        counts = torch.bincount(feature.flatten(), minlength=d_sae)
        self._starts = counts.cumsum(0) - counts

    def sum(self, values: Tensor, rows: Tensor) -> Tensor:
        """[d_sae, d]: sums of values [b, k] times the row [b, d] of their token."""
        weights = values.flatten()[self._order]
        return embedding_bag(self._token, rows, self._starts, mode="sum", per_sample_weights=weights)

    def values_sum(self, values: Tensor) -> Tensor:
        """[d_sae]: sums of values [b, k]."""
        return self.sum(values, values.new_ones(len(values), 1))[:, 0]
