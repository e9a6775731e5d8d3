"""What an intervention changes beside the answers: yes/no self-report and attention to the entity."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ato.errors import SettingsError
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, prompt_pass
from ato.models.shared_prefixes import prompt_ends, sharing_batches

SELF_REPORT_QUESTION = "Are you sure you know the {entity_type} '{entity}'? Answer yes or no."
"""The user's turn."""
SELF_REPORT_PREFILL = "Answer:"
"""The answer's beginning: the next token is to be " Yes" or " No"."""


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


def _batches(n: int, batch_size: int) -> Iterator[list[int]]:
    for start in range(0, n, batch_size):
        yield list(range(start, min(start + batch_size, n)))
