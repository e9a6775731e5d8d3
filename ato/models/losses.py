"""Next-token losses of hidden states, with the logits of a few hundred tokens in memory at a time."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

_HEAD_TOKENS = 512
"""Tokens whose logits are held at once: 100 MB in float32 for a vocabulary of 50,000."""
_CACHED_NUMBERS = 1 << 19
"""Logits that a processor takes through the softmax at once: in its cache, that is several times faster."""


def losses_of(logits: Callable[[Tensor], Tensor], hidden: Tensor, labels: Tensor) -> Tensor:
    """Losses [n] float32, in nats, of predicting labels [n].

    Args:
        logits: hidden states [n, d] -> [n, vocabulary].
        hidden: [n, d], behind the final norm.
        labels: [n] int64.
    """
    losses = torch.zeros(labels.shape, dtype=torch.float32, device=hidden.device)
    for start in range(0, len(hidden), _HEAD_TOKENS):
        made = logits(hidden[start : start + _HEAD_TOKENS])
        rows = max(1, _CACHED_NUMBERS // made.shape[1]) if made.device.type == "cpu" else len(made)
        for row in range(0, len(made), rows):
            part = slice(start + row, start + min(row + rows, len(made)))
            losses[part] = nn.functional.cross_entropy(made[row : row + rows].float(), labels[part], reduction="none")
    return losses


def losses_and_kl_of(
    logits: Callable[[Tensor], Tensor], plain: Tensor, changed: Sequence[Tensor], labels: Tensor
) -> tuple[Tensor, Tensor]:
    """What changed hidden states lose against plain ones: losses and KL(plain || changed), each [k, n] float32, in nats.

    The plain distributions of a few hundred tokens are made once for all k, and then let go of.

    Args:
        logits: hidden states [n, d] -> [n, vocabulary].
        plain: [n, d], behind the final norm.
        changed: k of them, [n, d] each.
        labels: [n] int64, whose losses they are.
    """
    losses = torch.zeros(len(changed), len(plain), dtype=torch.float32, device=plain.device)
    kl, step = torch.zeros_like(losses), _HEAD_TOKENS // 2
    for start in range(0, len(plain), step):
        log_p = logits(plain[start : start + step]).float().log_softmax(1)
        p = log_p.exp()
        rows = max(1, _CACHED_NUMBERS // p.shape[1]) if p.device.type == "cpu" else len(p)
        for i, hidden in enumerate(changed):
            made = logits(hidden[start : start + step])
            for row in range(0, len(made), rows):
                own, part = slice(row, row + rows), slice(start + row, start + min(row + rows, len(made)))
                log_q = made[own].float().log_softmax(1)
                losses[i, part] = -log_q.gather(1, labels[part, None])[:, 0]
                kl[i, part] = torch.linalg.vecdot(p[own], log_p[own] - log_q)
    return losses, kl


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
    losses[real] = losses_of(logits, hidden[:, :-1][real], targets[real])
    return losses
