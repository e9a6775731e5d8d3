"""Gradient steps of sparse autoencoders that touch only the active features; the encoder's product alone is dense.

The losses, the auxiliary loss for dead features, Adam and the clipping are those of sae-lens' trainer, the gradients are
written out: with k of d_sae features active a token, five of its six matrix products have sparse factors, and nothing
but the pre-activations is ever [tokens, d_sae].
"""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from ato.saes.training.activity import Activity
from ato.saes.training.choices import Choice, Chosen
from ato.saes.training.optimizer_state import optimizer_state, restore_optimizer
from ato.saes.training.resampling import FeatureWeights, restart_features
from ato.saes.training.schedule import Schedule

# sampled_addmm is the one operation used here; the warning is about the sparse interface as a whole.
warnings.filterwarnings("ignore", message="Sparse CSR tensor support is in beta")

FIRST_NORM = 0.1
"""Length of the decoder rows that a training starts with, as sae-lens has it."""


@dataclass(frozen=True)
class SparseStep:
    """One batch and what became of it, before the weights were changed."""

    sae_in: Tensor
    """[b, d_in]; of a transcoder the targets [b, d_out]."""
    sae_out: Tensor
    """[b, d_in] or [b, d_out]."""
    n_active: Tensor
    """[b] features active on each token."""


class SparseTrainer:
    """Trains ``sae_out = sum over the chosen features of relu(pre) W_dec + b_dec``, pre = (x - b_dec) W_enc + b_enc.

    Features are chosen by pre times the norm of their decoder rows. The loss is the mean over tokens of the squared
    error, plus that of what dead features make of the error (Gao et al., 2024, appendix A.2). With several ``widths`` it
    is the sum of the squared errors that the first features, up to each width, leave (Matryoshka; Bussmann et al., 2025).

    Args:
        directions: [d_sae, d_in], where decoder and encoder start.
        choice: which features are active.
        schedule: of the learning rate, the clipping and what is dead.
        precision: of the dense products; the weights are float32.
        widths: ascending numbers of features, the last of them d_sae.
        decoder: [d_sae, d_out], where the decoder starts if not where the encoder does.
        skip: [d_in, d_out], where a linear connection from input to output starts; none by default.
    """

    def __init__(
        self,
        directions: Tensor,
        choice: Choice,
        schedule: Schedule,
        precision: torch.dtype = torch.float32,
        widths: Sequence[int] | None = None,
        *,
        decoder: Tensor | None = None,
        skip: Tensor | None = None,
    ):
        d_sae = len(directions)
        self._encoder, self.W_dec = directions.clone(), (directions if decoder is None else decoder).clone()
        self.b_enc, self.b_dec = directions.new_zeros(d_sae), directions.new_zeros(self.W_dec.shape[1])
        self.W_skip = None if skip is None else skip.clone()
        self._parameters = [self._encoder, self.b_enc, self.W_dec, self.b_dec]
        self._parameters += [] if self.W_skip is None else [self.W_skip]
        self._optimizer = torch.optim.Adam(self._parameters, lr=schedule.lr, fused=True)
        self.choice, self._schedule, self._precision = choice, schedule, precision
        self._levels = list(pairwise((0, *(widths or [d_sae]))))
        self._activity = Activity(d_sae, schedule, directions.device)
        self._n_done = 0

    @property
    def W_enc(self) -> Tensor:
        """[d_in, d_sae]."""
        return self._encoder.T

    def weights(self) -> dict[str, Tensor]:
        """The weights by name, see ``Trainer``; with a threshold where the choice is that of a batch."""
        found = {"W_enc": self.W_enc, "b_enc": self.b_enc, "W_dec": self.W_dec, "b_dec": self.b_dec}
        if self.W_skip is not None:
            found["W_skip"] = self.W_skip
        if self.choice.threshold is None:
            return found
        return found | {"threshold": self.choice.settled / self.W_dec.norm(dim=1)}

    def state(self) -> dict[str, Tensor]:
        """Weights, moments of Adam and counts, see ``Trainer``."""
        counts = self._activity.state() | {"n_done": torch.tensor(self._n_done)}
        if self.choice.threshold is not None:
            counts["threshold"] = torch.tensor(self.choice.threshold, dtype=torch.float64)
            counts["n_averaged"] = torch.tensor(self.choice.n_averaged)
        return counts | optimizer_state(self._parameters, self._optimizer)

    def restore(self, state: Mapping[str, Tensor]) -> None:
        """Go on from there, see ``Trainer``."""
        restore_optimizer(self._parameters, self._optimizer, state)
        self._activity.restore(state)
        self._n_done = int(state["n_done"])
        if "threshold" in state:
            self.choice.threshold = float(state["threshold"])
            self.choice.n_averaged = int(state["n_averaged"])

    @property
    def dead_neurons(self) -> Tensor:
        """[d_sae] bool."""
        return self._activity.dead

    def restart(self, features: Tensor, inputs: Tensor) -> None:
        """Start features anew, see ``Trainer``."""
        weights = FeatureWeights(self._encoder, self.W_dec, [self.b_enc])
        restart_features(weights, features, inputs - self.b_dec, ~self._activity.dead, self._optimizer)
        self._activity.forget(features)

    @torch.no_grad()
    def step(self, x: Tensor) -> SparseStep:
        """Change the weights by one batch [b, d_in]."""
        z = x - self.b_dec
        step, gradients, _ = self._step_towards(x, z, self.b_dec)
        gradients[3] -= gradients[1] @ self._encoder  # z holds b_dec too
        self._descend(gradients)
        return step

    def _step_towards(self, y: Tensor, z: Tensor, base: Tensor) -> tuple[SparseStep, list[Tensor], Tensor]:
        """What becomes of inputs z [b, d_in] with targets y [b, d_out], features' outputs being added to the base.

        Returns:
            Also the gradients of encoder, its bias, decoder and the sum of those of the output, and these [b, d_out].
        """
        pre = self._product(z, self._encoder.T).float().add_(self.b_enc)
        norms = self.W_dec.norm(dim=1)
        chosen = self.choice(pre * norms)
        active = chosen.value > 0
        parts = [self._part(chosen, first, last, norms) for first, last in self._levels]
        outs, out = [], base
        for part in parts:
            out = part.decoded() + out
            outs.append(out)
        pulls = [(of_width - y).mul_(2 / len(y)) for of_width in outs]
        error, pull = outs[-1] - y, torch.zeros_like(y)
        gradients: list[list[Tensor]] = []
        for part, of_width in zip(reversed(parts), reversed(pulls), strict=True):
            pull = pull + of_width  # a feature is part of its own width and of all larger ones
            gradients.insert(0, part.gradients(pull, z))
        of_weights = [torch.cat(levels) for levels in zip(*gradients, strict=True)] + [pull.sum(0)]
        if self._schedule.auxiliary and len(dead := self.dead_neurons.nonzero()[:, 0]):
            self._add_revival(of_weights, dead, z, pre, norms, error)
        self._activity.update(torch.bincount(chosen.feature[active], minlength=len(self.b_enc)))
        n_active = torch.zeros_like(y[:, 0]).index_add_(0, chosen.token, active.to(y))
        return SparseStep(y, outs[-1], n_active), of_weights, pull

    def _part(self, chosen: Chosen, first: int, last: int, norms: Tensor) -> "_Part":
        """The active features of one level."""
        own = chosen if len(self._levels) == 1 else chosen.between(first, last)[0]
        return _Part(own, own.value / norms[first:last][own.feature], self.W_dec[first:last])

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
        if self._schedule.max_grad_norm is not None:
            torch.nn.utils.clip_grad_norm_(self._parameters, self._schedule.max_grad_norm)
        self._optimizer.param_groups[0]["lr"] = self._schedule.lr_after(self._n_done)
        self._optimizer.step()
        self._n_done += 1

    def _product(self, a: Tensor, b: Tensor) -> Tensor:
        return a.to(self._precision) @ b.to(self._precision)


@dataclass(frozen=True)
class _Part:
    """The chosen features of one level, numbered from its first."""

    chosen: Chosen
    acts: Tensor
    """[m] activations."""
    rows: Tensor
    """[features, d_in] decoder rows."""

    def decoded(self) -> Tensor:
        """[b, d_in] sum of the decoder rows times the activations."""
        found: Tensor = embedding_bag(
            self.chosen.feature, self.rows, self.chosen.starts[:-1], mode="sum", per_sample_weights=self.acts
        )
        return found

    def gradients(self, pull: Tensor, z: Tensor) -> list[Tensor]:
        """Of the encoder's rows, its biases and the decoder's rows, from those of the output [b, d_in]."""
        of_pre = _at_features(pull, self.rows.T, self.chosen).mul_(self.acts > 0)
        by_feature = _ByFeature(self.chosen, len(self.rows))
        return [by_feature.sum(of_pre, z), by_feature.values_sum(of_pre, z), by_feature.sum(self.acts, pull)]


def _at_features(rows: Tensor, columns: Tensor, chosen: Chosen) -> Tensor:
    """[m]: rows [b, d] times columns [d, features] at the chosen features of each row."""
    shape = len(rows), columns.shape[1]
    places = torch.sparse_csr_tensor(
        chosen.starts, chosen.feature, rows.new_zeros(len(chosen.feature)), shape, check_invariants=False
    )
    return torch.sparse.sampled_addmm(places, rows, columns, beta=0.0).values()


class _ByFeature:
    """The entries of a batch regrouped by feature: sums over tokens become sums over consecutive entries."""

    def __init__(self, chosen: Chosen, n_features: int):
        self._order = chosen.feature.argsort(stable=True)
        self._token = chosen.token[self._order]
        counts = torch.bincount(chosen.feature, minlength=n_features)
        self._starts = counts.cumsum(0) - counts

    def sum(self, values: Tensor, rows: Tensor) -> Tensor:
        """[features, d]: sums of values [m] times the row [b, d] of their token."""
        found: Tensor = embedding_bag(
            self._token, rows, self._starts, mode="sum", per_sample_weights=values[self._order]
        )
        return found

    def values_sum(self, values: Tensor, rows: Tensor) -> Tensor:
        """[features]: sums of values [m] of tokens that number as many as the rows."""
        return self.sum(values, values.new_ones(len(rows), 1))[:, 0]
