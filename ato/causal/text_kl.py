"""What a change of the model costs on ordinary text: KL of its next-token distributions from those of the plain model."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager

import numpy as np
import torch
from torch import Tensor

from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, PromptPass, layer_below, prompt_pass

TextEdits = Callable[[Sequence[np.ndarray]], Sequence[GenerationEdit]]
"""Makes edits from the sequences of a batch."""

_LOGIT_NUMBERS = 1 << 22
"""Logits that are held at once in comparing two distributions."""
_HIDDEN_NUMBERS = 1 << 26
"""Of the hidden states under several edits that are held at once."""


def text_kls(
    model: LanguageModel,
    sequences: Iterable[np.ndarray],
    edits: Sequence[TextEdits],
    *,
    batch_size: int = 8,
) -> np.ndarray:
    """[k, n] float64, of k edits: mean over the tokens of each sequence of KL(plain || changed) of the next token, in nats.

    Sequences are run a batch at a time: plain once for all edits, then from the layer of each. Of many edits of a long
    batch the logits of the plain model are made again now and then, rather than all hidden states kept.

    Args:
        model: the model.
        sequences: token ids [t] of ordinary text.
        edits: each makes its edits of a batch from the batch's sequences, which they are told of by numbers from 0 on.
        batch_size: sequences at a time.
    """
    found: list[np.ndarray] = []
    for batch in _chunks(sequences, batch_size):
        made = [own(batch) for own in edits]
        layers = {layer for own in made if (layer := layer_below(own)) is not None}
        plain = prompt_pass(model, batch, range(len(batch)), read=layers)
        at_once, means = max(1, _HIDDEN_NUMBERS // plain.run.hidden.numel()), []
        for start in range(0, len(made), at_once):
            some = made[start : start + at_once]
            changed = [prompt_pass(model, batch, range(len(batch)), own, unedited=plain).run.hidden for own in some]
            means.append(_mean_kls(model, plain, changed))
        found.append(np.concatenate(means) if means else np.zeros((0, len(batch))))
    return np.concatenate(found, axis=1) if found else np.zeros((len(edits), 0))


def text_kl(
    model: LanguageModel,
    sequences: Iterable[np.ndarray],
    edits: TextEdits | None = None,
    changed: Callable[[], AbstractContextManager[object]] | None = None,
    *,
    batch_size: int = 8,
) -> np.ndarray:
    """[n] float64: ``text_kls`` of one change of the model.

    Args:
        model: the model.
        sequences: token ids [t] of ordinary text.
        edits: what is changed, see ``text_kls``.
        changed: makes a context in which the model's weights are changed, for example ``orthogonalised``.
        batch_size: sequences at a time.
    """
    if changed is None:
        found: np.ndarray = text_kls(model, sequences, [edits or _no_edits], batch_size=batch_size)[0]
        return found
    means = []
    for batch in _chunks(sequences, batch_size):
        plain = prompt_pass(model, batch, range(len(batch)))
        with changed():
            other = prompt_pass(model, batch, range(len(batch)), edits(batch) if edits else ()).run.hidden
        means.append(_mean_kls(model, plain, [other])[0])
    return np.concatenate(means) if means else np.zeros(0)


def _no_edits(batch: Sequence[np.ndarray]) -> Sequence[GenerationEdit]:
    return ()


def _mean_kls(model: LanguageModel, plain: PromptPass, changed: Sequence[Tensor]) -> np.ndarray:
    """[k, n] mean KL of next-token distributions, of hidden states [n, t, d_model] behind the final norm."""
    lengths, rows = plain.lengths.tolist(), max(1, _LOGIT_NUMBERS // model.vocabulary_size)
    found = np.zeros((len(changed), len(lengths)))
    for i, length in enumerate(lengths):
        for start in range(0, length, rows):
            part = slice(start, min(start + rows, length))
            log_p = model.logits(plain.run.hidden[i, part]).float().log_softmax(1)
            p = log_p.exp()
            for k, hidden in enumerate(changed):
                log_q = model.logits(hidden[i, part]).float().log_softmax(1)
                found[k, i] += float(torch.linalg.vecdot(p, log_p - log_q).double().sum())
    return found / np.array(lengths)


def _chunks(sequences: Iterable[np.ndarray], batch_size: int) -> Iterator[list[np.ndarray]]:
    chunk: list[np.ndarray] = []
    for ids in sequences:
        chunk.append(ids)
        if len(chunk) == batch_size:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
