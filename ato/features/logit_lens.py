"""Logit lens: which tokens a direction of the residual stream promotes and suppresses, from weights alone."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import InputError

_CHUNK_LOGITS = 32_000_000
"""Logits held at once: 128 MB."""
_CACHED_LOGITS = 1 << 20
"""Logits of which a processor takes all the statistics at once, while they are in its cache."""
_PIECE = 16_384
"""Rows of the unembedding that are widened to float32 at once: a large one is never held twice."""


@dataclass(frozen=True)
class LogitLens:
    """The lens of f directions over a vocabulary."""

    focus_z: np.ndarray
    """[f] largest logit in standard deviations above the mean of the direction's logits; NaN where all are equal."""
    focus_entropy: np.ndarray
    """[f] entropy of the softmax of the logits, in nats."""
    top_ids: np.ndarray
    """[f, k] int64, tokens with the largest logits, largest first."""
    top_logits: np.ndarray
    """[f, k] float32."""
    bottom_ids: np.ndarray
    """[f, k] int64, tokens with the smallest logits, smallest first."""
    bottom_logits: np.ndarray
    """[f, k] float32."""


def logit_lens(
    directions: torch.Tensor,
    unembedding: torch.Tensor,
    n_tokens: int = 10,
    vocabulary: int | None = None,
    on_chunk: Callable[[int], None] | None = None,
) -> LogitLens:
    """Logits ``directions @ unembedding.T``, a chunk of directions at a time, and what the focus of a feature needs.

    As in the study and on Neuronpedia neither the final norm nor its weights are applied: a decoder row is a
    direction, not a residual. For its weights, pass ``directions * norm_gain(...)``.

    Args:
        directions: [f, d], for example the decoder rows of an SAE (``W_dec``).
        unembedding: [v, d], for example ``model.parts.unembedding()``: the logits that it gives are scaled as the model's.
        n_tokens: tokens at each end.
        vocabulary: tokens of the tokenizer; rows of the unembedding behind them are padding and left out.
        on_chunk: told the number of directions done after each chunk.

    Raises:
        InputError: the widths differ.
    """
    if directions.shape[1] != unembedding.shape[1]:
        raise InputError(
            f"directions have width {directions.shape[1]}, the unembedding expects {unembedding.shape[1]}",
            cure="use directions in the residual stream of this model",
        )
    head = unembedding.detach()[:vocabulary]
    k = min(n_tokens, len(head))
    parts = []
    rows = max(1, _CHUNK_LOGITS // len(head))
    with torch.inference_mode():
        for chunk in directions.detach().split(rows):
            x = chunk.to(head.device, torch.float32)
            logits = torch.cat([x @ piece.float().T for piece in head.split(_PIECE)], dim=1)  # [rows, v]
            cached = max(1, _CACHED_LOGITS // len(head)) if logits.is_cpu else len(logits)
            parts += [_statistics(part, k) for part in logits.split(cached)]
            if on_chunk is not None:
                on_chunk(sum(len(part[0]) for part in parts))
    focus_z, focus_entropy, *ends = (np.concatenate(columns) for columns in zip(*parts, strict=True))
    return LogitLens(focus_z.astype(np.float64), np.maximum(focus_entropy.astype(np.float64), 0.0), *ends)


def norm_gain(norm: torch.nn.Module, width: int) -> torch.Tensor:
    """[width] float32, what a norm multiplies each number of a residual by, beside the length that it takes away.

    Read off what the norm makes of a vector of mean 0 and square 1 and of its opposite, so that a bias drops out and a
    gain that is stored as its difference from 1, as in Gemma, is found like any other.
    """
    weight = next(norm.parameters(), torch.zeros(()))
    signs = torch.ones(1, width, dtype=weight.dtype, device=weight.device)
    signs[:, ::2] = -1
    with torch.inference_mode():
        return ((norm(signs) - norm(-signs)) / (2 * signs))[0].float()


def _statistics(logits: torch.Tensor, k: int) -> list[np.ndarray]:
    """Columns of ``LogitLens`` in their order for the logits [f, v] of some directions."""
    variance, mean = torch.var_mean(logits, dim=1, correction=0)
    top, bottom = logits.topk(k, dim=1), logits.topk(k, dim=1, largest=False)
    z = (logits.amax(1) - mean) / torch.where(variance > 0, variance, torch.nan).sqrt()
    log_p = logits.log_softmax(1)
    entropy = -torch.linalg.vecdot(log_p.exp(), log_p)
    return [t.cpu().numpy() for t in (z, entropy, top.indices, top.values, bottom.indices, bottom.values)]
