"""Gradient steps of transcoders that touch only the active features, with or without a skip connection."""

import torch
from torch import Tensor

from ato.residuals.site_pairs import split_pairs
from ato.saes.training.choices import Choice
from ato.saes.training.schedule import Schedule
from ato.saes.training.sparse import SparseStep, SparseTrainer


class TranscoderTrainer(SparseTrainer):
    """Trains ``out = sum over the chosen features of relu(pre) W_dec + b_dec (+ x W_skip)``, pre = x W_enc + b_enc.

    Choice, loss, auxiliary loss of dead features, Adam and clipping are those of ``SparseTrainer``; the error is that
    of y. The product of the skip connection's gradient is the only dense one beside the encoder's.

    Args:
        encoder: [d_sae, d_in], where the encoder starts.
        decoder: [d_sae, d_out], where the decoder starts.
        choice: which features are active.
        schedule: of the learning rate.
        precision: of the dense products; the weights are float32.
        skip: whether there is a skip connection; it starts at 0.
    """

    def __init__(
        self,
        encoder: Tensor,
        decoder: Tensor,
        choice: Choice,
        schedule: Schedule,
        precision: torch.dtype = torch.float32,
        *,
        skip: bool = False,
    ):
        start = encoder.new_zeros(encoder.shape[1], decoder.shape[1]) if skip else None
        super().__init__(encoder, choice, schedule, precision, decoder=decoder, skip=start)

    @torch.no_grad()
    def step(self, x: Tensor) -> SparseStep:
        """Change the weights by one batch of pairs [b, d_in + d_out], see ``ato.residuals.site_pairs``."""
        z, y = split_pairs(x, self._encoder.shape[1])
        z, y = z.contiguous(), y.contiguous()
        base = self.b_dec
        if self.W_skip is not None:
            base = self._product(z, self.W_skip).float().add_(self.b_dec)
        step, gradients, pull = self._step_towards(y, z, base)
        if self.W_skip is not None:
            gradients.append(self._product(z.T, pull).float())
        self._descend(gradients)
        return step
