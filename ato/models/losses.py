"""Next-token losses of hidden states, with the logits of a few hundred tokens in memory at a time."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

_HEAD_TOKENS = 512
"""Tokens whose logits are held at once: 100 MB in float32 for a vocabulary of 50,000."""


def next_token_losses(logits: Callable[[Tensor], Tensor], hidden: Tensor, input_ids: Tensor, lengths: Tensor) -> Tensor:
    """Losses [b, t-1] float32, in nats; 0 where padding is predicted.

    Args:
        logits: hidden states [n, d] -> [n, vocabulary].
        hidden: [b, t, d], behind the final norm.
        input_ids: [b, t] int64, padded on the right.
        lengths: [b].
    """
    targets = input_ids[:, 1:]
    real = torch.arange(1, input_ids.shape[1], device=hidden.device) < lengths[:, None]  # [b, t-1]
    losses = torch.zeros(targets.shape, dtype=torch.float32, device=hidden.device)
    rows, labels = hidden[:, :-1][real], targets[real]
    pieces = [
        nn.functional.cross_entropy(logits(x).float(), y, reduction="none")
        for x, y in zip(rows.split(_HEAD_TOKENS), labels.split(_HEAD_TOKENS))
    ]
    if pieces:
        losses[real] = torch.cat(pieces)
    return losses
