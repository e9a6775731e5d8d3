"""Whether a model needs its BOS token before each text: what its tokenizer does unasked, and what a few texts lose."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from ato.models.language_model import LanguageModel, pad

N_TEXTS, N_TOKENS = 8, 128
"""Of the calibration batch."""
_BEHIND = 16
"""Tokens at the beginning whose losses do not count, where texts are long enough: any first token helps there."""
_NEEDED = 0.1
"""Nats per token that BOS must save for a model to need it."""


@dataclass(frozen=True)
class BosEffect:
    """What a BOS token before each text changes."""

    by_default: bool
    """Whether the tokenizer puts one there unless told otherwise."""
    loss_without: float
    """Mean next-token loss of the batch in nats."""
    loss_with: float
    """That of the same tokens behind a BOS."""

    @property
    def needed(self) -> bool:
        """Whether the tokenizer or the losses say so."""
        return self.by_default or self.loss_without - self.loss_with > _NEEDED

    def __str__(self) -> str:
        reason = "the tokenizer begins texts with BOS by default" if self.by_default else "the model needs BOS"
        losses = f"loss {self.loss_without:.2f} nats per token without it, {self.loss_with:.2f} with it"
        return f"{reason} and prepend_bos is off: {losses}; --set collect.prepend_bos=true"


def bos_effect(model: LanguageModel, texts: Sequence[np.ndarray]) -> BosEffect | None:
    """Measure on a few texts; None of a model without a BOS token, or without texts of two tokens that lack one.

    Args:
        model: the model.
        texts: token ids of each, without BOS; the first ``N_TEXTS`` are used, ``N_TOKENS`` of each.
    """
    bos = model.tokenizer.bos_token_id
    most = min(N_TOKENS, model.context_length - 1)
    batch = [np.asarray(ids[:most]) for ids in texts if len(ids) > 1 and ids[0] != bos][:N_TEXTS]
    if bos is None or not batch:
        return None
    by_default = model.tokenizer("a")["input_ids"][:1] == [bos]
    means = []
    for prefix in ([], [bos]):
        ids, lengths = pad([np.array([*prefix, *text]) for text in batch])
        losses = model.token_losses(ids, lengths)[:, len(prefix) :].double().cpu()
        position = torch.arange(losses.shape[1])
        begin = _BEHIND if max(map(len, batch)) > 2 * _BEHIND else 0
        counted = (position >= begin) & (position < torch.tensor([[len(text) - 1] for text in batch]))
        means.append(float(losses[counted].mean()))
    return BosEffect(by_default, *means)
