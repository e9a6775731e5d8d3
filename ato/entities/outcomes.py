"""What an intervention changes beside the answers: yes/no self-report, attention to the entity, ordinary text."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ato.errors import SettingsError
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, prompt_pass
from ato.models.shared_prefixes import prompt_ends, sharing_batches

SELF_REPORT_QUESTION = "Are you sure you know the {entity_type} '{entity}'? Answer yes or no."
"""The user's turn."""
SELF_REPORT_PREFILL = "Answer:"
"""The answer's beginning: the next token is to be " Yes" or " No"."""

_LOGIT_NUMBERS = 1 << 22
"""Logits that are held at once in comparing two distributions."""


def yes_no_ids(tokenizer: Any, prefill: str = SELF_REPORT_PREFILL) -> tuple[int, int]:
    """Ids of " Yes" and " No" behind the beginning of an answer.

    Raises:
        SettingsError: one of them is not a single token there.
    """
    before = tokenizer.encode(prefill, add_special_tokens=False)
    found = []
    for word in (" Yes", " No"):
        ids = tokenizer.encode(prefill + word, add_special_tokens=False)
        if ids[: len(before)] != before or len(ids) != len(before) + 1:
            problem = f"{word!r} behind {prefill!r} is not a single token of this tokenizer"
            raise SettingsError(problem, cure="leave the self-report out for this model")
        found.append(ids[-1])
    yes, no = found
    return yes, no


def self_report(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    edits: Sequence[GenerationEdit] = (),
    *,
    yes_no: tuple[int, int] | None = None,
    batch_size: int = 32,
) -> np.ndarray:
    """[n] float64: logit of " Yes" less that of " No" as the next token of each prompt, soft caps included.

    Args:
        model: the model.
        prompts: token ids of ``SELF_REPORT_QUESTION`` with ``SELF_REPORT_PREFILL`` behind it.
        edits: what is changed in the model.
        yes_no: ids of the two tokens; default ``yes_no_ids``.
        batch_size: prompts at a time.

    Raises:
        SettingsError: " Yes" or " No" is not a single token.
    """
    pair = list(yes_no or yes_no_ids(model.tokenizer))
    found = np.full(len(prompts), np.nan)
    for numbers in sharing_batches(prompts, edits, batch_size):
        last = prompt_ends(model, [prompts[i] for i in numbers], numbers, edits).last
        yes, no = model.logits(last)[:, pair].double().cpu().numpy().T
        found[numbers] = yes - no
    return found


@dataclass(frozen=True)
class EntityAttention:
    """Attention from each prompt's last token to its entity."""

    weight: np.ndarray | None
    """[n_layers asked for, n] float64: summed over the entity's tokens, averaged over the heads; None: see ``reason``."""
    reason: str = ""
    """Why it could not be read."""


def entity_attention(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    spans: Sequence[tuple[int, int]],
    layers: Sequence[int],
    edits: Sequence[GenerationEdit] = (),
    *,
    batch_size: int = 32,
) -> EntityAttention:
    """Read the attention weights of some layers.

    Args:
        model: the model; loaded with eager attention, else the result says why there is none.
        prompts: token ids of each.
        spans: (first token, token behind the last) of each prompt's entity.
        layers: whose attention is read.
        edits: what is changed in the model.
        batch_size: prompts at a time.

    Raises:
        LayerError: a layer is not in the model.
    """
    model.check_layers(layers)
    try:
        model.check_attention(layers)
    except SettingsError as error:
        return EntityAttention(None, str(error))
    found = np.full((len(layers), len(prompts)), np.nan)
    for numbers in _batches(len(prompts), batch_size):
        run = prompt_pass(model, [prompts[i] for i in numbers], numbers, edits, attention=layers)
        for row, i in enumerate(numbers):
            first, end = spans[i]
            for place, layer in enumerate(layers):
                found[place, i] = float(run.attention[layer][row, len(prompts[i]) - 1, first:end].double().sum())
    return EntityAttention(found)


def text_kl(
    model: LanguageModel,
    sequences: Iterable[np.ndarray],
    edits: Callable[[Sequence[np.ndarray]], Sequence[GenerationEdit]] | None = None,
    changed: Callable[[], AbstractContextManager[object]] | None = None,
    *,
    batch_size: int = 8,
) -> np.ndarray:
    """[n] float64: mean over the tokens of each sequence of KL(plain || changed) of the next token, in nats.

    Sequences are run a batch at a time, plain and changed; nothing of them is kept but the mean.

    Args:
        model: the model.
        sequences: token ids [t] of ordinary text.
        edits: makes the edits of a batch from its sequences, which they are told of by numbers from 0 on.
        changed: makes a context in which the model's weights are changed, for example ``orthogonalised``.
        batch_size: sequences at a time.
    """
    means: list[float] = []
    for batch in _chunks(sequences, batch_size):
        numbers = range(len(batch))
        plain = prompt_pass(model, batch, numbers)
        if changed is None:
            other = prompt_pass(model, batch, numbers, edits(batch) if edits else ()).run.hidden
        else:
            with changed():
                other = prompt_pass(model, batch, numbers, edits(batch) if edits else ()).run.hidden
        for row, ids in enumerate(batch):
            means.append(_mean_kl(model, plain.run.hidden[row, : len(ids)], other[row, : len(ids)]))
    return np.array(means)


def _mean_kl(model: LanguageModel, plain: Tensor, changed: Tensor) -> float:
    """Mean KL of next-token distributions of hidden states [t, d_model] behind the final norm."""
    total, rows = 0.0, max(1, _LOGIT_NUMBERS // model.vocabulary_size)
    for start in range(0, len(plain), rows):
        log_p, log_q = (model.logits(x[start : start + rows]).float().log_softmax(1) for x in (plain, changed))
        total += float(torch.linalg.vecdot(log_p.exp(), log_p - log_q).double().sum())
    return total / len(plain)


def _batches(n: int, batch_size: int) -> Iterator[list[int]]:
    for start in range(0, n, batch_size):
        yield list(range(start, min(start + batch_size, n)))


def _chunks(sequences: Iterable[np.ndarray], batch_size: int) -> Iterator[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    for ids in sequences:
        chunk.append(ids)
        if len(chunk) == batch_size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
