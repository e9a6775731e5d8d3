"""Completions of many prompts: greedy and drawn, batched, with keys and values cached and residuals edited.

Prompts are run right-padded, once for all of their completions. Keys and values of their tokens are then put side by
side, padded on the left, and one token a row is run at a time. Rows that are finished leave the batch.
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from ato.errors import NonFiniteError, SettingsError
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, PromptPass, check_prompts, edits_at, prompt_pass
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
    """Completions that are made at a time."""
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


@dataclass
class _Row:
    """A completion in the making."""

    prompt: int
    sample: int
    tokens: list[int] = field(default_factory=list)
    log_probability: float = 0.0
    has_text: bool = False


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
    order = sorted(range(len(prompts)), key=lambda i: len(prompts[i]))
    samples = range(decoding.n_samples + 1)
    at_once = max(1, decoding.batch_size // len(samples))
    found: list[Completion] = []
    for start in range(0, len(order), at_once):
        chosen = order[start : start + at_once]
        begun = prompt_pass(model, [prompts[i] for i in chosen], chosen, edits, keep_cache=decoding.cache)
        rows = [(place, _Row(i, sample)) for place, i in enumerate(chosen) for sample in samples]
        for first in range(0, len(rows), decoding.batch_size):
            part = rows[first : first + decoding.batch_size]
            found += _completions(model, decoding, edits, begun, part)
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
    model: LanguageModel,
    decoding: Decoding,
    edits: Sequence[GenerationEdit],
    begun: PromptPass,
    placed: list[tuple[int, _Row]],
) -> Iterator[Completion]:
    """Continue rows (place in the pass, row) until each is finished."""
    rows = [row for _, row in placed]
    places = torch.tensor([place for place, _ in placed], device=model.device)
    prompts = [begun.run.input_ids[place, : begun.lengths[place]].tolist() for place, _ in placed]
    keys = np.array([_key(ids) for ids in prompts], dtype=np.uint64)
    cached = begun.run.keys_values is not None
    state = (_CachedRows if cached else _WholeRows)(model, edits, begun, places, [row.prompt for row in rows])
    texts: dict[int, str] = {}
    hidden = begun.last[places]
    for step in range(decoding.max_new_tokens):
        logits = model.logits(hidden).float()
        tokens, log_p = _next_tokens(logits, decoding, keys, np.array([row.sample for row in rows]), step)
        stay = []
        for i, (row, token, value) in enumerate(zip(rows, tokens.tolist(), log_p.tolist())):
            row.tokens.append(token)
            row.log_probability += value
            ended = _ends(model, decoding, row, texts)
            if ended or step + 1 == decoding.max_new_tokens:
                ids = np.array(row.tokens, dtype=np.int64)
                yield Completion(row.prompt, row.sample, ids, row.log_probability, ended)
            else:
                stay.append(i)
        if not stay:
            return
        if len(stay) < len(rows):
            rows, keys, kept = [rows[i] for i in stay], keys[stay], torch.tensor(stay, device=model.device)
            tokens = tokens[kept]
            state.select(kept)
        hidden = state.step(tokens)


def _key(ids: Sequence[int]) -> int:
    """64 bits that stand for a prompt in random draws."""
    return int.from_bytes(hashlib.blake2b(np.asarray(ids, dtype="<i8").tobytes(), digest_size=8).digest(), "little")


def _next_tokens(
    logits: Tensor, decoding: Decoding, keys: np.ndarray, samples: np.ndarray, step: int
) -> tuple[Tensor, Tensor]:
    """Token [b] of each row and its log-probability [b], of logits [b, vocabulary] float32."""
    tokens = logits.argmax(1)
    if drawn := np.flatnonzero(samples).tolist():
        levels = np.arange((logits.shape[1] - 1).bit_length())
        key = keys[drawn, None], samples[drawn, None]
        uniform = torch.from_numpy(uniforms(decoding.seed, *key, step, levels)).to(logits.device)
        tokens[drawn] = _bisected((logits[drawn] / decoding.temperature).softmax(1), uniform)
    log_p = logits.gather(1, tokens[:, None])[:, 0] - logits.logsumexp(1)
    if not bool(log_p.isfinite().all()):
        raise NonFiniteError("the model gives logits that are not finite", cure="edit more weakly, or use float32")
    return tokens, log_p.double()


def _bisected(p: Tensor, uniform: Tensor) -> Tensor:
    """Index [b] drawn from p [b, n], by halving the indices once for each of the uniform numbers [b, log2 n].

    Rounding errors of p move a draw to another index about as often as they are large. With one uniform number for the
    whole cumulative distribution that is so at each of its n steps.
    """
    cdf = torch.nn.functional.pad(p.cumsum(1, dtype=torch.float64), (1, 0))  # [b, n + 1]
    n, first = p.shape[1], torch.zeros(len(p), 1, dtype=torch.long, device=p.device)
    for level in range(uniform.shape[1]):
        half = 1 << (uniform.shape[1] - 1 - level)
        start, middle, end = (cdf.gather(1, (first + step).clamp(max=n)) for step in (0, half, 2 * half))
        first = first + half * (uniform[:, level : level + 1] * (end - start) >= middle - start)
    return first[:, 0]


def _ends(model: LanguageModel, decoding: Decoding, row: _Row, texts: dict[int, str]) -> bool:
    """Whether a row's last token ends it; takes note of the text seen so far."""
    token = row.tokens[-1]
    if token in decoding.stop_ids:
        return True
    if not decoding.stop_at_newline:
        return False
    if token not in texts:
        texts[token] = model.tokenizer.decode([token], skip_special_tokens=True)
    before, newline, behind = texts[token].partition("\n")
    row.has_text |= bool(before.strip())
    if newline and row.has_text:
        return True
    row.has_text |= bool(behind.strip())
    return "\n" in behind.strip()


class _CachedRows:
    """Rows whose next tokens attend to kept keys and values."""

    def __init__(
        self,
        model: LanguageModel,
        edits: Sequence[GenerationEdit],
        begun: PromptPass,
        places: Tensor,
        numbers: list[int],
    ):
        self._model, self._edits = model, edits
        self._numbers = torch.tensor(numbers, device=model.device)
        self._position = begun.lengths[places]  # [b] of the next token
        prefixes = begun.run.prefixes(places, self._position, model.n_layers)
        self._cache, self._real = prefixes.cache, prefixes.real

    def step(self, tokens: Tensor) -> Tensor:
        """Hidden states [b, d] of the next tokens [b]."""
        self._real = torch.cat([self._real, self._real.new_ones(len(tokens), 1)], dim=1)
        at = self._position[:, None]
        options = edits_at(self._model, self._edits, self._numbers, at)
        mask = None if bool(self._real.all()) else self._real.long()
        found = self._model.forward(tokens[:, None], mask, cache=self._cache, position_ids=at, **options)
        self._position = self._position + 1
        return found.hidden[:, 0]

    def select(self, rows: Tensor) -> None:
        """Go on with some rows only."""
        self._cache.batch_select_indices(rows)
        self._numbers, self._position, self._real = self._numbers[rows], self._position[rows], self._real[rows]
        if unused := int((~self._real).sum(1).min()):  # columns before the longest prompt's first token
            for layer in self._cache.layers:
                layer.keys, layer.values = layer.keys[:, :, unused:], layer.values[:, :, unused:]
            self._real = self._real[:, unused:]


class _WholeRows:
    """Rows that are run from their first token at each step: for models without a known cache, and as a reference."""

    def __init__(
        self,
        model: LanguageModel,
        edits: Sequence[GenerationEdit],
        begun: PromptPass,
        places: Tensor,
        numbers: list[int],
    ):
        self._model, self._edits, self._numbers = model, edits, numbers
        self._ids = [begun.run.input_ids[place, : begun.lengths[place]].tolist() for place in places.tolist()]

    def step(self, tokens: Tensor) -> Tensor:
        """Hidden states [b, d] of the next tokens [b]."""
        for ids, token in zip(self._ids, tokens.tolist()):
            ids.append(token)
        return prompt_pass(self._model, [np.array(ids) for ids in self._ids], self._numbers, self._edits).last

    def select(self, rows: Tensor) -> None:
        """Go on with some rows only."""
        self._ids = [self._ids[i] for i in rows.tolist()]
        self._numbers = [self._numbers[i] for i in rows.tolist()]
