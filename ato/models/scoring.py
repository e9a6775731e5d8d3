"""Log-probabilities of given answers, by teacher forcing: a prompt is run once for all of its answers."""

from collections.abc import Iterator, Sequence

import numpy as np
import torch

from ato.errors import ModelError
from ato.models.language_model import LanguageModel, pad
from ato.models.prompt_pass import GenerationEdit, PromptPass, check_prompts, edits_at, prompt_pass
from ato.models.shared_prefixes import prompt_ends


def answer_log_probabilities(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    answers: Sequence[Sequence[np.ndarray]],
    edits: Sequence[GenerationEdit] = (),
    *,
    batch_size: int = 32,
) -> list[np.ndarray]:
    """For each prompt [k] float64: sum of log p of the tokens of each of its k answers behind it, in nats.

    Args:
        model: the model.
        prompts: token ids [t] of each.
        answers: of each prompt, the token ids of its answers, none or more.
        edits: what is changed in the model, for prompts and answers alike.
        batch_size: answers that are run at a time.

    Raises:
        ModelError: a prompt or an answer is empty, or both together are longer than the model's context.
        LayerError, SettingsError: as ``generate``.
    """
    for i, own in enumerate(answers):
        if not all(map(len, own)):
            raise ModelError("an answer has no tokens", where=f"prompt {i}", cure="leave empty answers out")
        check_prompts(model, [prompts[i]], max(map(len, own), default=0))
    found = [np.zeros(len(own)) for own in answers]
    for chosen in _batches([len(own) for own in answers], batch_size):
        begun = prompt_ends(model, [prompts[i] for i in chosen], chosen, edits, keep_cache=True)
        pairs = [(place, i, k) for place, i in enumerate(chosen) for k in range(len(answers[i]))]
        for first in range(0, len(pairs), batch_size):
            part = pairs[first : first + batch_size]
            places, numbers, _ = zip(*part)
            scores = _scores(model, begun, (places, numbers), [answers[i][k] for _, i, k in part], edits)
            for (_, i, k), score in zip(part, scores):
                found[i][k] = score
    return found


def p_correct(gold: np.ndarray, distractors: np.ndarray) -> float:
    """Share of the gold answers in the probability of all candidates: sum exp gold / sum exp (gold and distractors).

    Several gold answers (aliases) count together. NaN where there is no gold answer or no distractor.

    Args:
        gold: [k] log-probabilities.
        distractors: [m] log-probabilities.
    """
    if not len(gold) or not len(distractors):
        return float("nan")
    return float(np.exp(np.logaddexp.reduce(gold) - np.logaddexp.reduce(np.concatenate([gold, distractors]))))


def _batches(counts: list[int], batch_size: int) -> Iterator[list[int]]:
    """Runs of prompts with about ``batch_size`` answers together; those without answers are left out."""
    chosen: list[int] = []
    n = 0
    for i, count in enumerate(counts):
        if chosen and n + count > batch_size:
            yield chosen
            chosen, n = [], 0
        if count:
            chosen.append(i)
            n += count
    if chosen:
        yield chosen


def _scores(
    model: LanguageModel,
    begun: PromptPass,
    rows: tuple[Sequence[int], Sequence[int]],
    answers: list[np.ndarray],
    edits: Sequence[GenerationEdit],
) -> list[float]:
    """Log-probability of each answer; rows are (place in the pass, number of the prompt)."""
    places, numbers = (torch.tensor(x, device=model.device) for x in rows)
    ids, counts = (x.to(model.device) for x in pad(answers))
    hidden = begun.last[places][:, None]  # [b, 1, d], that predicts the first token
    if ids.shape[1] > 1:
        hidden = torch.cat([hidden, _behind(model, begun, (places, numbers), ids[:, :-1], edits)], dim=1)
    real = torch.arange(ids.shape[1], device=model.device) < counts[:, None]
    losses = torch.zeros(ids.shape, dtype=torch.float64, device=model.device)
    losses[real] = model.losses_of(hidden[real], ids[real]).double()
    return (-losses.sum(1)).tolist()


def _behind(
    model: LanguageModel,
    begun: PromptPass,
    rows: tuple[torch.Tensor, torch.Tensor],
    ids: torch.Tensor,
    edits: Sequence[GenerationEdit],
) -> torch.Tensor:
    """Hidden states [b, s, d] of tokens [b, s] behind the prompts at these places."""
    (places, numbers), s = rows, ids.shape[1]
    lengths = begun.lengths[places]
    at = lengths[:, None] + torch.arange(s, device=model.device)
    at = at.clamp(max=model.context_length - 1)  # padding may reach beyond
    if begun.run.keys_values is None:
        own = zip(begun.run.input_ids[places].tolist(), lengths.tolist(), ids.tolist())
        whole = [np.array((row[:n] + more)[: model.context_length]) for row, n, more in own]
        hidden = prompt_pass(model, whole, numbers.tolist(), edits).run.hidden
        return hidden.gather(1, at[..., None].expand(-1, -1, hidden.shape[-1]))
    prefixes = begun.run.prefixes(places, lengths, model.n_layers)
    options = edits_at(model, edits, numbers, at)
    return model.forward(ids, prefixes.mask(s), cache=prefixes.cache, position_ids=at, **options).hidden
