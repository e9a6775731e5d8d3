"""Completions of many prompts: greedy and drawn, batched, with keys and values cached and residuals edited.

1. Prompts are run, what edits leave equal only once. Keys and values of their tokens are put side by side, padded on the
   left.
2. All completions of a prompt begin as one row. One token a row is run at a time.
3. Where the completions of a row choose different tokens, it becomes several rows; those that are finished leave.
4. More rows than fit wait, and fill the places of those that are finished.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ato.errors import NonFiniteError, SettingsError
from ato.models.decoded_rows import CachedRows, WholeRows
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, check_prompts, edits_at, prompt_pass
from ato.models.shared_prefixes import prompt_ends, sharing_batches
from ato.numerics.counter_rng import uniforms

__all__ = ["Completion", "Decoding", "GenerationEdit", "completion_text", "end_ids", "generate"]

_ENDS = ("<|im_end|>", "<end_of_turn>", "<|eot_id|>", "<|end|>", "<|endoftext|>")
"""Tokens that end an answer in chat templates, beside the tokenizer's own."""


@dataclass(frozen=True)
class Decoding:
    """How completions are made.

    Raises:
        SettingsError: a number out of range.
    """

    max_new_tokens: int = 32
    n_samples: int = 0
    """Drawn completions of each prompt, numbered from 1; sample 0 is always greedy."""
    temperature: float = 1.0
    """Of drawn completions: logits are divided by it."""
    stop_ids: tuple[int, ...] = ()
    """A completion ends with the first of these, see ``end_ids``."""
    stop_at_newline: bool = False
    """It ends with the first line that is not blank."""
    batch_size: int = 32
    """Rows that are run at a time: completions that have chosen the same tokens so far are one row."""
    seed: int = 0
    cache: bool = True
    """Keep keys and values; false runs all tokens again at each step, with the same result up to rounding."""

    def __post_init__(self) -> None:
        least = {"max_new_tokens": 1, "n_samples": 0, "batch_size": 1}
        for name, bound in least.items():
            if getattr(self, name) < bound:
                raise SettingsError(f"{name} is {getattr(self, name)}", cure=f"use {bound} or more")
        if not 0 < self.temperature < float("inf"):
            cure = "use a positive number; sample 0 is greedy"
            raise SettingsError(f"temperature is {self.temperature}", cure=cure)


@dataclass(frozen=True)
class Completion:
    """One completion of one prompt."""

    prompt: int
    """Number of the prompt."""
    sample: int
    """0 for the greedy one."""
    token_ids: np.ndarray
    """[n] int64, all that were generated, the one that ended it included."""
    log_probability: float
    """Sum of log p of these tokens given those before, in nats, at temperature 1 and with the edits."""
    ended: bool
    """False where ``max_new_tokens`` cut it off."""


@dataclass(frozen=True)
class _Branch:
    """Completions of a prompt that have chosen the same tokens so far: a row that is run."""

    prompt: int
    key: int
    """Stands for the prompt's token ids in random draws."""
    samples: tuple[int, ...]
    tokens: tuple[int, ...] = ()
    log_probability: float = 0.0
    has_text: bool = False


@dataclass(frozen=True)
class _Part:
    """Rows that are to be continued together, each with its last token."""

    state: Any
    """``CachedRows`` or ``WholeRows``, as they were before that token."""
    rows: list[int]
    """Row of the state that each continues."""
    branches: list[_Branch]


def generate(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    decoding: Decoding,
    edits: Sequence[GenerationEdit] = (),
) -> list[Completion]:
    """Completions of each prompt, ordered by prompt and sample.

    Draws are made with uniform numbers that depend on the seed, the prompt's token ids, the sample and the step only.
    What a prompt is run beside changes nothing but the last bits of the logits: enough to tip a near-tie now and then in
    bfloat16, practically never in float32.

    Args:
        model: the model.
        prompts: token ids [t] of each, as they are to be run: nothing is added.
        decoding: how completions are made.
        edits: what is changed in the model, for prompts and generated tokens alike.

    Raises:
        LayerError: a layer is not in the model.
        ModelError: a prompt is empty, or longer than the context with what is to be generated.
        SettingsError: an unknown site, or edits at several sites.
        NonFiniteError: the edited model gives NaN.
    """
    check_prompts(model, prompts, decoding.max_new_tokens)
    edits_at(model, edits, torch.empty(0), torch.empty(0))  # refuses what is wrong before anything is run
    found = _completions(model, prompts, decoding, edits)
    return sorted(found, key=lambda completion: (completion.prompt, completion.sample))


def end_ids(model: LanguageModel) -> tuple[int, ...]:
    """Ids that end an answer: the tokenizer's EOS, those of the model's generation settings, and ends of chat turns."""
    settings = getattr(getattr(model.module, "generation_config", None), "eos_token_id", None)
    ids = {model.tokenizer.eos_token_id, *(settings if isinstance(settings, list) else [settings])}
    ids |= {i for i, token in model.tokenizer.added_tokens_decoder.items() if token.content in _ENDS}
    return tuple(sorted(i for i in ids if i is not None))


def completion_text(model: LanguageModel, completion: Completion, decoding: Decoding) -> str:
    """The text of a completion without special tokens, stripped; its first line that is not blank if it stops there."""
    text: str = model.tokenizer.decode(completion.token_ids.tolist(), skip_special_tokens=True).strip()
    return text.split("\n", 1)[0].strip() if decoding.stop_at_newline else text


def _completions(
    model: LanguageModel, prompts: Sequence[np.ndarray], decoding: Decoding, edits: Sequence[GenerationEdit]
) -> Iterator[Completion]:
    """All completions, in the order in which they are finished."""
    batches = sharing_batches(prompts, edits, decoding.batch_size)
    waiting: list[_Part] = []
    texts: dict[int, str] = {}
    while True:
        few = sum(len(part.rows) for part in waiting) <= decoding.batch_size // 2
        if few and (chosen := next(batches, None)) is not None:
            part, hidden = _begun(model, prompts, chosen, decoding, edits)
        elif waiting:
            taken = _taken(waiting, decoding.batch_size)
            part = taken[0] if _alone(taken, waiting) else _joined(taken)
            last = [branch.tokens[-1] for branch in part.branches]
            hidden = part.state.step(torch.tensor(last, device=model.device))
        else:
            return
        stay: list[tuple[int, _Branch]] = []
        for row, branch in _continued(model.logits(hidden).float(), decoding, part.branches):
            branch, ended = _ends(model, decoding, branch, texts)
            if ended or len(branch.tokens) == decoding.max_new_tokens:
                ids = np.array(branch.tokens, dtype=np.int64)
                for sample in branch.samples:
                    yield Completion(branch.prompt, sample, ids, branch.log_probability, ended)
            else:
                stay.append((row, branch))
        if stay:
            waiting.append(_Part(part.state, [row for row, _ in stay], [branch for _, branch in stay]))


def _begun(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    chosen: Sequence[int],
    decoding: Decoding,
    edits: Sequence[GenerationEdit],
) -> tuple[_Part, Tensor]:
    """Rows of some prompts, and the hidden states [b, d] of their last tokens."""
    run, samples = prompt_ends if decoding.cache else prompt_pass, tuple(range(decoding.n_samples + 1))
    begun = run(model, [prompts[i] for i in chosen], chosen, edits, keep_cache=decoding.cache)
    state = (WholeRows if begun.run.keys_values is None else CachedRows).begin(model, edits, begun, chosen)
    branches = [_Branch(i, _key(prompts[i]), samples) for i in chosen]
    return _Part(state, list(range(len(branches))), branches), begun.last


def _taken(waiting: list[_Part], most: int) -> list[_Part]:
    """Take so many rows, if there are, those first that came last."""
    taken: list[_Part] = []
    while waiting and most:
        part = waiting.pop()
        if len(part.rows) > most:
            rest = _Part(part.state, part.rows[most:], part.branches[most:])
            part = _Part(part.state, part.rows[:most], part.branches[:most])
            # Few rows must not hold the keys and values of many.
            waiting.append(_joined([rest]) if 2 * len(rest.rows) < len(part.rows) else rest)
        taken.append(part)
        most -= len(part.rows)
    return taken


def _alone(taken: Sequence[_Part], waiting: Sequence[_Part]) -> bool:
    """Whether this is one part, with all rows of a state that no other part needs as it is."""
    state, rows = taken[0].state, taken[0].rows
    return len(taken) == 1 and rows == list(range(len(state))) and not any(part.state is state for part in waiting)


def _joined(parts: Sequence[_Part]) -> _Part:
    """Several parts as one, whose state no other part has."""
    state = parts[0].state.gathered([(part.state, part.rows) for part in parts])
    branches = [branch for part in parts for branch in part.branches]
    return _Part(state, list(range(len(branches))), branches)


def _key(ids: np.ndarray) -> int:
    """64 bits that stand for a prompt in random draws."""
    return int.from_bytes(hashlib.blake2b(np.asarray(ids, dtype="<i8").tobytes(), digest_size=8).digest(), "little")


def _continued(logits: Tensor, decoding: Decoding, branches: Sequence[_Branch]) -> Iterator[tuple[int, _Branch]]:
    """Rows of logits [b, vocabulary] float32, each with one of the branches that it splits into."""
    rows = [row for row, branch in enumerate(branches) for _ in branch.samples]
    keys = np.array([branches[row].key for row in rows], dtype=np.uint64)
    steps = np.array([len(branches[row].tokens) for row in rows])
    samples = np.array([sample for branch in branches for sample in branch.samples])
    tokens, log_p = _next_tokens(logits, decoding, rows, (keys, samples, steps))
    split: dict[tuple[int, int], tuple[list[int], float]] = {}
    for row, sample, token, value in zip(rows, samples.tolist(), tokens.tolist(), log_p.tolist()):
        split.setdefault((row, token), ([], value))[0].append(sample)
    for (row, token), (own, value) in split.items():
        branch = branches[row]
        longer, total = (*branch.tokens, token), branch.log_probability + value
        yield row, replace(branch, samples=tuple(own), tokens=longer, log_probability=total)


def _next_tokens(
    logits: Tensor, decoding: Decoding, rows: Sequence[int], draws: tuple[np.ndarray, np.ndarray, np.ndarray]
) -> tuple[Tensor, Tensor]:
    """Token [c] of each completion and its log-probability [c].

    Args:
        logits: [b, vocabulary] float32.
        decoding: how tokens are drawn.
        rows: [c] each completion's row of logits.
        draws: keys [c], samples [c] and steps [c], which random numbers depend on.
    """
    keys, samples, steps = draws
    of = torch.tensor(rows, device=logits.device)
    tokens = logits.argmax(1)[of]
    if drawn := np.flatnonzero(samples).tolist():
        levels = np.arange((logits.shape[1] - 1).bit_length())
        key = keys[drawn, None], samples[drawn, None], steps[drawn, None]
        uniform = torch.from_numpy(uniforms(decoding.seed, *key, levels)).to(logits.device)
        tokens[drawn] = _bisected((logits / decoding.temperature).softmax(1), uniform, of[drawn])
    log_p = logits[of, tokens] - logits.logsumexp(1)[of]
    if not bool(log_p.isfinite().all()):
        raise NonFiniteError("the model gives logits that are not finite", cure="edit more weakly, or use float32")
    return tokens, log_p.double()


def _bisected(p: Tensor, uniform: Tensor, rows: Tensor) -> Tensor:
    """Index [c] drawn from p[rows], of p [b, n], by halving the indices once for each uniform number [c, log2 n].

    Rounding errors of p move a draw to another index about as often as they are large. With one uniform number for the
    whole cumulative distribution that is so at each of its n steps.
    """
    levels = uniform.shape[1]
    sums = [torch.nn.functional.pad(p, (0, (1 << levels) - p.shape[1]))]
    for _ in range(levels):
        sums.append(sums[-1][:, 0::2] + sums[-1][:, 1::2])  # of 2, 4, 8 ... neighbours
    found = torch.zeros_like(rows)
    for level in range(levels):
        both, left = sums[levels - level][rows, found], sums[levels - level - 1][rows, 2 * found]
        found = 2 * found + (uniform[:, level] * both >= left)
    return found


def _ends(model: LanguageModel, decoding: Decoding, branch: _Branch, texts: dict[int, str]) -> tuple[_Branch, bool]:
    """The branch, with note taken of its text so far, and whether its last token ends it."""
    token, has_text = branch.tokens[-1], branch.has_text
    if token in decoding.stop_ids:
        return branch, True
    if not decoding.stop_at_newline:
        return branch, False
    if token not in texts:
        texts[token] = model.tokenizer.decode([token], skip_special_tokens=True)
    before, newline, behind = texts[token].partition("\n")
    has_text |= bool(before.strip())
    ended = bool(newline and has_text) or "\n" in behind.strip()
    return replace(branch, has_text=has_text or bool(behind.strip())), ended
