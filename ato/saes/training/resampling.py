"""Resampling: dead features start anew on inputs that the SAE rebuilds badly.

Bricken et al., 2023, "Towards monosemanticity", appendix "Neuron resampling": an input for each dead feature is drawn with
probability proportional to the squared loss; it becomes the direction of its decoder row, of length 1, and of its encoder, whose
norm is 0.2 of the mean of the living; its biases and what Adam remembers of it are 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import normalize

ENCODER_SHARE = 0.2
"""Norm of a new encoder row, of the mean norm of the living; of a new threshold likewise."""
LAST_SHARE = 0.7
"""Share of the steps after which nothing is resampled: a new feature has to be trained, and the learning rate falls."""
MOMENTS = ("exp_avg", "exp_avg_sq")
"""What Adam remembers of a weight."""


@dataclass(frozen=True)
class FeatureWeights:
    """The parameters of a trainer that belong to single features."""

    encoder: Tensor
    """[d_sae, d_in], or its transpose if ``encoder_columns``."""
    decoder: Tensor
    """[d_sae, d_out]."""
    zeroed: Sequence[Tensor]
    """[d_sae] each: biases, which become 0."""
    scaled: Sequence[Tensor] = ()
    """[d_sae] each: thresholds, which shrink as the encoder does."""
    encoder_columns: bool = False
    """Whether a feature is a column of the encoder."""

    def by_feature(self, tensor: Tensor, of: Tensor) -> Tensor:
        """A view of a tensor of the shape of parameter ``of``, a row a feature."""
        return tensor.T if of is self.encoder and self.encoder_columns else tensor

    @property
    def parameters(self) -> list[Tensor]:
        """All of them."""
        return [self.encoder, self.decoder, *self.zeroed, *self.scaled]


def worst_inputs(squared_errors: Tensor, n: int, seed: Sequence[int]) -> Tensor:
    """Indices of at most n of the inputs, each drawn once, with probability proportional to the square of its loss.

    Args:
        squared_errors: [b] loss of each input, its squared error.
        n: inputs wanted; fewer are drawn where fewer have a loss.
        seed: numbers that the draw depends on, and nothing else.
    """
    chances = squared_errors.detach().double().cpu().square()
    n = min(n, int((chances > 0).sum()))
    if not n:
        return torch.zeros(0, dtype=torch.int64, device=squared_errors.device)
    generator = torch.Generator().manual_seed(_mixed(seed))
    return torch.multinomial(chances, n, generator=generator).to(squared_errors.device)


@torch.no_grad()
def restart_features(
    weights: FeatureWeights, features: Tensor, inputs: Tensor, living: Tensor, optimizer: torch.optim.Optimizer
) -> None:
    """Start features anew; no other weight is touched.

    Args:
        weights: of the trainer.
        features: [m] which ones.
        inputs: [m, d_in] what the encoder is given for the inputs that they start with.
        living: [d_sae] bool, the features whose mean norm counts; if there are none, all.
        optimizer: whose moments of them become 0.
    """
    living = living if bool(living.any()) else torch.ones_like(living)
    rows = normalize(inputs.float(), dim=1)
    encoder = weights.by_feature(weights.encoder, weights.encoder)
    encoder[features] = ENCODER_SHARE * encoder[living].norm(dim=1).mean() * rows
    weights.decoder[features] = rows
    for bias in weights.zeroed:
        bias[features] = 0
    for threshold in weights.scaled:
        threshold[features] = ENCODER_SHARE * threshold[living].mean()
    for parameter in weights.parameters:
        kept = optimizer.state.get(parameter, {})
        for name in MOMENTS:
            if name in kept:
                weights.by_feature(kept[name], parameter)[features] = 0


def _mixed(seed: Sequence[int]) -> int:
    mixed = 0
    for part in seed:
        mixed = (mixed * 1_000_003 + part + 1) % 2**63
    return mixed
