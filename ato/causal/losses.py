"""What edits of the residual stream cost the running model: next-token loss and KL divergence, sequence by sequence.

The blocks up to the highest target layer run once per batch. Every edit then starts at its target layer, many edits
of one sequence stacked into one pass. An edit at position p changes nothing before p, so logits are made only from
the first edited position on, and the losses before it are those of the unedited run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ato.causal.interventions import NO_INTERVENTION, FeatureEdits, Intervention, PositionSet, ResidualEdits
from ato.errors import DataError, InputError, NonFiniteError
from ato.models.language_model import LanguageModel, pad
from ato.residuals.exclusion import ExclusionPolicy

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

STUDIED_TOKENS = ExclusionPolicy()
"""The tokens that statistics keep by default."""
_LOGIT_NUMBERS = 1 << 25
"""Logits made at once: 700 tokens of a vocabulary of 50,000, enough for the head to run at full speed."""
_CACHED_NUMBERS = 1 << 20
"""Logits that a processor takes through the softmax at once: in its cache, that is five times faster."""


@dataclass(frozen=True)
class EditLosses:
    """What one intervention costs on each of n sequences, in nats; NaN where nothing is edited or no token follows."""

    n_edited: np.ndarray
    """[n] int64, positions replaced."""
    log_ppl: np.ndarray
    """[n] mean next-token loss over the whole sequence."""
    log_ppl_edited_onwards: np.ndarray
    """[n] the same over the predictions made at the first edited position and after it."""
    clean_edited_onwards: np.ndarray
    """[n] the same predictions of the unedited model."""
    kl: np.ndarray
    """[n] mean of KL(unedited || edited) of the next-token distributions over these predictions."""


@dataclass(frozen=True)
class CausalLosses:
    """Losses of sequences under all interventions, in the order of the sequences."""

    sequence_id: np.ndarray
    """[n] int64."""
    document: np.ndarray
    """[n] int64."""
    log_ppl: np.ndarray
    """[n] mean next-token loss of the unedited model, in nats."""
    edits: tuple[dict[Intervention, EditLosses], ...]
    """For each plan of edits, in their order."""

    def with_unedited(self, plan: int) -> dict[Intervention, EditLosses]:
        """The interventions of a plan, after ``NO_INTERVENTION`` with the losses of the unedited model."""
        nothing = np.full(len(self.log_ppl), np.nan)
        unedited = EditLosses(np.zeros(len(nothing), dtype=np.int64), self.log_ppl, nothing, nothing, nothing)
        return {NO_INTERVENTION: unedited, **self.edits[plan]}


def full_length_sequences(
    sequences: Iterable["TokenSequence"], seq_len: int, positions: Sequence[PositionSet]
) -> list["TokenSequence"]:
    """The sequences of exactly ``seq_len`` tokens.

    Raises:
        DataError: an edited position has no prediction after it that could change, or no sequence is that long.
    """
    needed = max((p.longest for p in positions), default=0) + 2
    if seq_len < needed:
        raise DataError(
            f"sequences of {seq_len} tokens are too short for an edit at position {needed - 2}",
            cure="lower causal.positions or raise collect.seq_len",
        )
    found = [s for s in sequences if len(s.token_ids) == seq_len]
    if not found:
        raise DataError(
            f"no held-out sequence has the full length of {seq_len} tokens",
            cure="raise collect.n_tokens or lower collect.seq_len",
        )
    return found


def causal_losses(
    model: LanguageModel,
    plans: Sequence[ResidualEdits | FeatureEdits],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    policy: ExclusionPolicy = STUDIED_TOKENS,
    median_norm: Mapping[int, float] | None = None,
    on_sequence: Callable[[], object] | None = None,
) -> CausalLosses:
    """Losses of every sequence under every edit, and unedited.

    Args:
        model: runs in its own precision; losses are made in float32 from its logits.
        plans: edits at their target layers; those of one layer share passes.
        sequences: all of one length, see ``full_length_sequences``.
        batch_size: sequences, or edits of one sequence, in one forward pass.
        policy: the tokens that the position sets ``all`` and ``active`` leave alone.
        median_norm: layer -> median residual norm; a token beyond the policy's multiple of it at the target layer
            is left alone too.
        on_sequence: called after each sequence.

    Raises:
        InputError: no sequences, or of different lengths.
        LayerError: a layer is not in the model.
        NonFiniteError: an edited model gives NaN or infinity.
    """
    if len({len(s.token_ids) for s in sequences}) != 1:
        raise InputError("sequences of equal length expected", cure="choose them with full_length_sequences")
    tables = _LossTables(model, plans, batch_size)
    layers = set().union(*(plan.layers for plan in plans))
    top = max((plan.layer for plan in plans), default=model.n_layers - 1)
    limits = {layer: (policy.max_norm_multiple or np.inf) * norm for layer, norm in (median_norm or {}).items()}
    position = np.arange(len(sequences[0].token_ids))
    for start in range(0, len(sequences), batch_size):
        batch = sequences[start : start + batch_size]
        input_ids, lengths = (x.to(model.device) for x in pad([s.token_ids for s in batch]))
        with torch.inference_mode():
            residuals = model.residuals(input_ids, lengths, {*layers, top})
            hidden = model.hidden_from(top, residuals[top], input_ids, lengths)
            for i, sequence in enumerate(batch):
                kept, _ = policy.keep_tokens(sequence.token_ids, position, model.special_token_ids)
                own = {layer: x[i] for layer, x in residuals.items()}
                editable = {
                    plan.layer: _editable(own[plan.layer], kept, limits.get(plan.layer, np.inf)) for plan in plans
                }
                tables.measure(_Unedited.of(model, hidden[i], input_ids[i]), own, editable)
                if on_sequence is not None:
                    on_sequence()
    return CausalLosses(
        sequence_id=np.array([s.sequence_id for s in sequences], dtype=np.int64),
        document=np.array([s.document for s in sequences], dtype=np.int64),
        log_ppl=np.array(tables.log_ppl),
        edits=tables.edits(),
    )


def _editable(y: Tensor, kept: np.ndarray, limit: float) -> Tensor:
    """Mask [t] of the kept tokens whose residual [t, d] is no outlier; NaN is none, it must be seen."""
    norm: Tensor = y.float().norm(dim=-1)
    return torch.from_numpy(kept).to(y.device) & ~(norm > limit)


@dataclass(frozen=True)
class _Unedited:
    """One sequence in the unedited model, with its next-token distributions: of one sequence they are small."""

    model: LanguageModel
    input_ids: Tensor
    """[t] int64."""
    losses: np.ndarray
    """[t-1] float64."""
    probability: Tensor
    """[t-1, vocabulary] float32."""
    negentropy: Tensor
    """[t-1] sum of p log p."""

    @classmethod
    def of(cls, model: LanguageModel, hidden: Tensor, input_ids: Tensor) -> "_Unedited":
        """From its hidden states [t, d_model] behind the final norm."""
        losses, probability, negentropy = [], [], []
        for rows, log_p in _log_probabilities(model, hidden[:-1]):
            p = log_p.exp()
            losses.append(-log_p.gather(1, input_ids[1:][rows, None])[:, 0])
            probability.append(p)
            negentropy.append(torch.linalg.vecdot(p, log_p))
        values = torch.cat(losses).double().cpu().numpy()
        return cls(model, input_ids, values, torch.cat(probability), torch.cat(negentropy))

    def compare(self, hidden: Tensor, first: int) -> Tensor:
        """Losses and then KL(unedited || edited) [2, t-1-first] float64 of predictions made from a position on.

        Args:
            hidden: [t, d_model], edited, behind the final norm.
            first: that position.
        """
        labels, probability = self.input_ids[first + 1 :], self.probability[first:]
        losses, cross = [], []
        for rows, log_q in _log_probabilities(self.model, hidden[first:-1]):
            losses.append(-log_q.gather(1, labels[rows, None])[:, 0])
            cross.append(torch.linalg.vecdot(probability[rows], log_q))
        return torch.stack([torch.cat(losses), self.negentropy[first:] - torch.cat(cross)]).double()


class _SequenceLosses(NamedTuple):
    """What one intervention costs on one sequence: a row of ``EditLosses``."""

    n_edited: int
    log_ppl: float
    log_ppl_edited_onwards: float = np.nan
    clean_edited_onwards: float = np.nan
    kl: float = np.nan


class _Edited(NamedTuple):
    """One sequence after an intervention."""

    intervention: Intervention
    losses: dict[Intervention, _SequenceLosses]
    """Where its losses go."""
    n_edited: int
    first: int
    """The first edited position; behind the last one where none is edited."""
    residual: Tensor
    """[t, d]."""


class _LossTables:
    """Losses under every intervention of some plans, which grow sequence by sequence."""

    def __init__(self, model: LanguageModel, plans: Sequence[ResidualEdits | FeatureEdits], batch_size: int):
        self._model, self._plans, self._batch_size = model, plans, batch_size
        self.log_ppl: list[float] = []
        self._sequences: list[list[dict[Intervention, _SequenceLosses]]] = []

    def edits(self) -> tuple[dict[Intervention, EditLosses], ...]:
        """The losses of the sequences measured so far, plan by plan."""
        return tuple(
            {
                name: EditLosses(*map(np.array, zip(*(losses[i][name] for losses in self._sequences), strict=True)))
                for name in plan.names
            }
            for i, plan in enumerate(self._plans)
        )

    def measure(self, unedited: _Unedited, residuals: Mapping[int, Tensor], editable: Mapping[int, Tensor]) -> None:
        """Every edit of the next sequence, from its residuals [t, d] and the editable positions [t] of each layer."""
        self.log_ppl.append(unedited.losses.mean())
        self._sequences.append([{} for _ in self._plans])
        for layer in sorted({plan.layer for plan in self._plans}):
            stack: list[_Edited] = []
            for edited in self._edited(layer, residuals, editable[layer]):
                if edited.first >= len(unedited.losses):
                    edited.losses[edited.intervention] = _SequenceLosses(edited.n_edited, self.log_ppl[-1])
                    continue
                stack.append(edited)
                if len(stack) == self._batch_size:
                    self._run(layer, stack, unedited)
                    stack = []
            if stack:
                self._run(layer, stack, unedited)

    def _edited(self, layer: int, residuals: Mapping[int, Tensor], editable: Tensor) -> Iterator[_Edited]:
        """The sequence after each edit at a layer."""
        for plan, losses in zip(self._plans, self._sequences[-1]):
            if plan.layer == layer:
                for intervention, mask, residual in plan.edits(residuals, editable):
                    positions = mask.nonzero()
                    first = int(positions[0]) if len(positions) else len(mask)
                    yield _Edited(intervention, losses, len(positions), first, residual)

    def _run(self, layer: int, stack: Sequence[_Edited], unedited: _Unedited) -> None:
        """The blocks above the layer, once for all edits of a stack."""
        residuals = torch.stack([edited.residual for edited in stack])
        b, t, _ = residuals.shape
        hidden = self._model.hidden_from(layer, residuals, unedited.input_ids.expand(b, t), np.full(b, t))
        compared = [unedited.compare(own, edited.first) for edited, own in zip(stack, hidden)]
        numbers = torch.cat(compared, dim=1).cpu().numpy()  # one copy from the device for the whole stack
        if not np.isfinite(numbers).all():
            raise NonFiniteError(
                "an edited residual makes the model output NaN or infinity",
                cure="run the model in bfloat16 or float32 (model.dtype)",
            )
        ends = np.cumsum([own.shape[1] for own in compared])
        for edited, (losses, kl) in zip(stack, np.split(numbers, ends[:-1], axis=1)):
            before = unedited.losses[: edited.first].sum()
            edited.losses[edited.intervention] = _SequenceLosses(
                edited.n_edited,
                log_ppl=(before + losses.sum()) / (t - 1),
                log_ppl_edited_onwards=losses.mean(),
                clean_edited_onwards=unedited.losses[edited.first :].mean(),
                kl=max(kl.mean(), 0.0),  # below 0 by rounding only
            )


def _log_probabilities(model: LanguageModel, hidden: Tensor) -> Iterator[tuple[slice, Tensor]]:
    """(rows, their next-token log-probabilities [m, vocabulary] float32) of hidden states [n, d_model]."""
    made = max(1, _LOGIT_NUMBERS // model.vocabulary_size)
    cached = max(1, _CACHED_NUMBERS // model.vocabulary_size) if hidden.device.type == "cpu" else made
    for start in range(0, len(hidden), made):
        logits = model.logits(hidden[start : start + made])
        for row in range(0, len(logits), cached):
            yield (
                slice(start + row, start + min(row + cached, len(logits))),
                logits[row : row + cached].float().log_softmax(1),
            )
