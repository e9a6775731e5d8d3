"""Text that a model goes on with while features are edited, beside what it says unedited, and what the edit costs.

1. Both completions of each prompt are generated: greedy, and drawn with the same random numbers.
2. Both texts are run through the plain and through the edited model: log-probabilities, KL(unedited || edited) on the
   prompt and the unedited completion, and the features' activations before and after the edit.
3. On ordinary text KL is measured too, beside equally large moves along random directions.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ato.causal.feature_edits import EditedTokens, FeatureEdit, on_device, placed_edits
from ato.causal.next_tokens import NextTokens
from ato.causal.text_kl import text_kls
from ato.errors import SettingsError
from ato.models.generation import Completion, Decoding, completion_text, end_ids, generate
from ato.models.language_model import LanguageModel
from ato.models.prompt_pass import GenerationEdit, prompt_pass
from ato.numerics.intervals import Estimate, document_interval

N_GRAM = 4
"""Tokens of the runs whose repetition is counted."""


@dataclass(frozen=True)
class SteeredText:
    """What was generated behind one prompt, edited or not."""

    token_ids: np.ndarray
    """[n] int64, generated tokens."""
    text: str
    ended: bool
    """False where the limit of new tokens cut it off."""
    log_p: float
    """Mean log-probability of its tokens in the model that said it, in nats, at temperature 1."""
    log_p_other: float
    """In the other one: of the edited text in the unedited model, and the other way round."""
    repetition: float | None
    """``repetition`` of its tokens."""


@dataclass(frozen=True)
class Reading:
    """A feature's activations on a prompt and what was generated behind it, [t] tokens."""

    edit: int
    """Number of the edit."""
    of_edited: bool
    """Whether the text is the edited model's, read there; else the unedited one's, read in the unedited model."""
    token_ids: np.ndarray
    before: np.ndarray
    """[t] float32, as the value arrives at the edit."""
    after: np.ndarray | None
    """[t] float32, read again by the encoder behind the edit; None in the unedited model. Decoder and encoder are two
    directions, and other features of a TopK SAE compete: it need not be what the feature was set to."""
    is_edited: np.ndarray
    """[t] bool."""


@dataclass(frozen=True)
class Steered:
    """One prompt and sample."""

    prompt: int
    sample: int
    """0 for the greedy one."""
    unedited: SteeredText
    edited: SteeredText
    kl_prompt: float | None
    """Mean over the prompt's tokens but the first of KL(unedited || edited) of their predictions, in nats; None of a
    prompt of one token."""
    kl_continuation: float
    """The same over the tokens of the unedited completion."""
    readings: list[Reading]


@dataclass(frozen=True)
class TextCost:
    """What the edits do to ordinary text, all its tokens edited but the first and special ones."""

    kl: Estimate
    """Mean KL(unedited || edited) of the next token, in nats, with its interval by document."""
    random: np.ndarray
    """[draws] the same of equally large moves along random directions."""
    n_sequences: int
    n_tokens: int
    n_documents: int


def steer(
    model: LanguageModel,
    prompts: Sequence[np.ndarray],
    edits: Sequence[FeatureEdit],
    decoding: Decoding,
    part: str = "all",
) -> list[Steered]:
    """Generate behind each prompt with and without the edits; ordered by prompt and sample.

    Args:
        model: the model.
        prompts: token ids [t] of each, as they are to be run.
        edits: of features, one or more.
        decoding: how texts are made; a special token ends one, whatever its ``stop_ids``.
        part: which tokens are edited, one of ``PARTS``.

    Raises:
        SettingsError: no edit, or edits that do not go together.
        SAEError: an SAE of another width.
        LayerError, ModelError, NonFiniteError: as ``generate``.
    """
    if not edits:
        raise SettingsError("no feature to edit", cure="name at least one")
    special = model.special_token_ids
    decoding = replace(decoding, stop_ids=tuple(sorted({*decoding.stop_ids, *end_ids(model), *special})))
    moved = on_device(edits, model.device)
    tokens = EditedTokens(prompts, special, part)
    placed = placed_edits(moved, tokens)
    said = [generate(model, prompts, decoding, which) for which in ((), placed)]
    run = _Runs(model, prompts, decoding, (moved, placed, tokens))
    return [run.compared(plain, changed) for plain, changed in zip(*said, strict=True)]


def text_cost(
    model: LanguageModel,
    sequences: Sequence[np.ndarray],
    documents: Sequence[str],
    edits: Sequence[FeatureEdit],
    *,
    n_random: int = 5,
    seed: int = 0,
    batch_size: int = 8,
) -> TextCost:
    """KL of next tokens on ordinary text, beside that of random directions.

    Args:
        model: the model.
        sequences: token ids [t] of text that the SAE was not trained on.
        documents: the document of each.
        edits: of features.
        n_random: draws of random directions, each as far from the value as the edit.
        seed: of the draws.
        batch_size: sequences at a time.

    Raises:
        SettingsError: not one document a sequence, or edits that do not go together.
    """
    if len(sequences) != len(documents):
        raise SettingsError(f"{len(documents)} documents of {len(sequences)} sequences", cure="give one each")
    moved = on_device(edits, model.device)
    rng = np.random.default_rng(seed)
    drawn = [[edit.along(rng.standard_normal(edit.sae.d_in)) for edit in moved] for _ in range(n_random)]

    def made(own: Sequence[FeatureEdit], batch: Sequence[np.ndarray]) -> list[GenerationEdit]:
        return placed_edits(own, EditedTokens(batch, model.special_token_ids))

    kls = text_kls(model, sequences, [partial(made, own) for own in (moved, *drawn)], batch_size=batch_size)
    lengths = np.array([len(ids) for ids in sequences], dtype=np.float64)
    kl, names = _by_document(kls[0], lengths, documents)
    random = (kls[1:] * lengths).sum(1) / lengths.sum() if len(sequences) else np.full(n_random, np.nan)
    return TextCost(kl, random, len(sequences), int(lengths.sum()), names)


def repetition(token_ids: np.ndarray, n: int = N_GRAM) -> float | None:
    """Share of runs of n tokens that occurred before in the text (seq-rep-n, Welleck et al. 2020); None of a shorter one."""
    runs = [tuple(token_ids[i : i + n].tolist()) for i in range(len(token_ids) - n + 1)]
    return 1 - len(set(runs)) / len(runs) if runs else None


@dataclass(frozen=True)
class _Sums:
    tokens: np.ndarray
    total: np.ndarray


def _by_document(values: np.ndarray, lengths: np.ndarray, documents: Sequence[str]) -> tuple[Estimate, int]:
    """Mean over tokens of means [n] over sequences of these lengths [n], and the number of documents."""
    if not len(values):
        return Estimate(None), 0
    names, number = np.unique(np.asarray(documents), return_inverse=True)
    sums = _Sums(np.bincount(number, lengths), np.bincount(number, lengths * values))
    return document_interval(sums, lambda of: of.total / of.tokens, sums.tokens).item(), len(names)


@dataclass(frozen=True, eq=False)
class _Runs:
    """Passes over finished texts."""

    model: LanguageModel
    prompts: Sequence[np.ndarray]
    decoding: Decoding
    edited: tuple[Sequence[FeatureEdit], Sequence[GenerationEdit], EditedTokens]

    def compared(self, plain: Completion, changed: Completion) -> Steered:
        """Both completions of one prompt and sample."""
        number, start = plain.prompt, len(self.prompts[plain.prompt])
        ids = [np.concatenate([self.prompts[number], one.token_ids]).astype(np.int64) for one in (plain, changed)]
        unedited, before = self._run(number, ids[0], edit=False)
        steered, arriving = self._run(number, ids[1], edit=True)
        predicted = NextTokens.of(self.model, unedited, torch.from_numpy(ids[0]).to(self.model.device))
        first = torch.zeros(1, dtype=torch.long, device=self.model.device)
        losses, kl = predicted.compare(self._run(number, ids[0], edit=True)[0][None], first)[0].cpu().numpy()
        own = self._losses(steered, ids[1])
        other = self._losses(self._run(number, ids[1], edit=False)[0], ids[1])
        behind = slice(start - 1, len(ids[0]) - 1)
        texts = (
            self._text(plain, predicted.losses[start - 1 :], losses[behind]),
            self._text(changed, own[start - 1 :], other[start - 1 :]),
        )
        readings = self._readings(number, ids[0], before) + self._readings(number, ids[1], arriving)
        on_prompt = float(kl[: start - 1].mean()) if start > 1 else None
        return Steered(number, plain.sample, *texts, on_prompt, float(kl[behind].mean()), readings)

    def _text(self, of: Completion, own: np.ndarray, other: np.ndarray) -> SteeredText:
        text = completion_text(self.model, of, self.decoding)
        means = -float(own.mean()), -float(other.mean())
        return SteeredText(of.token_ids, text, of.ended, *means, repetition(of.token_ids))

    def _losses(self, hidden: Tensor, ids: np.ndarray) -> np.ndarray:
        return NextTokens.of(self.model, hidden, torch.from_numpy(ids).to(self.model.device)).losses

    def _run(self, number: int, ids: np.ndarray, *, edit: bool) -> tuple[Tensor, list[dict[int, Tensor]]]:
        """Hidden states [t, d] of a text, and the values [t, d_in] by layer before and, if edited, behind the edits."""
        edits, placed, _ = self.edited
        before, after = dict[int, Tensor](), dict[int, Tensor]()
        site = edits[0].site

        def keep(kept: dict[int, Tensor], layer: int) -> GenerationEdit:
            def function(value: Tensor, rows: Tensor, positions: Tensor) -> Tensor:
                kept[layer] = value[0].clone()
                return value

            return GenerationEdit(layer, function, site)

        layers = sorted({one.layer for one in edits})
        chain = [keep(before, layer) for layer in layers]
        if edit:
            chain += [*placed, *(keep(after, layer) for layer in layers)]
        hidden = prompt_pass(self.model, [ids], [number], chain).run.hidden[0]
        return hidden, [before, after] if edit else [before]

    def _readings(self, number: int, ids: np.ndarray, values: Sequence[dict[int, Tensor]]) -> list[Reading]:
        edits, _, tokens = self.edited
        mask = tokens.of(number, np.arange(len(ids)))
        found = []
        for i, edit in enumerate(edits):
            read = [edit.sae.encode(kept[edit.layer])[:, edit.feature_id].cpu().numpy() for kept in values]
            is_edited = mask if len(read) == 2 else np.zeros_like(mask)
            found.append(Reading(i, len(read) == 2, ids, read[0], read[1] if len(read) == 2 else None, is_edited))
        return found
