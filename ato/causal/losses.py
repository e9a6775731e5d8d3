"""What edits of the residual stream cost the running model: next-token loss and KL divergence, sequence by sequence.

The unedited model runs once per batch, and the keys and values of its tokens are kept. An edit at position p changes
nothing before p: every edit starts at its target layer and at its first edited position, many edits of one sequence
stacked into one pass, and the losses before that position are those of the unedited run. Where an edit repeats another
one up to a later position, it starts there. The last token, from which nothing is predicted, is not run.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor

from ato.causal.edited import Edited, SequenceLosses, share_prefixes
from ato.causal.interventions import NO_INTERVENTION, FeatureEdits, Intervention, PositionSet, ResidualEdits
from ato.causal.next_tokens import NextTokens
from ato.causal.stacks import stacks
from ato.errors import DataError, InputError, NonFiniteError
from ato.models.cached_run import CachedRun, cached_run, rerun
from ato.models.language_model import LanguageModel, pad
from ato.residuals.exclusion import ExclusionPolicy

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

STUDIED_TOKENS = ExclusionPolicy()
"""The tokens that statistics keep by default."""


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
        batch_size: sequences in one forward pass; edits of one sequence are stacked up to as many tokens.
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
    limits = {layer: (policy.max_norm_multiple or np.inf) * norm for layer, norm in (median_norm or {}).items()}
    position = np.arange(len(sequences[0].token_ids))
    for start in range(0, len(sequences), batch_size):
        batch = sequences[start : start + batch_size]
        input_ids, lengths = (x.to(model.device) for x in pad([s.token_ids for s in batch]))
        with torch.inference_mode():
            run = cached_run(model, input_ids, lengths, layers)
            for i, sequence in enumerate(batch):
                kept, _ = policy.keep_tokens(sequence.token_ids, position, model.special_token_ids)
                own = {layer: x[i] for layer, x in run.residuals.items()}
                editable = {
                    plan.layer: _editable(own[plan.layer], kept, limits.get(plan.layer, np.inf)) for plan in plans
                }
                tables.measure(_Unedited(run, i, NextTokens.of(model, run.hidden[i], input_ids[i])), own, editable)
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


class _Unedited(NamedTuple):
    """One sequence in the unedited model."""

    run: CachedRun
    row: int
    """Of the run."""
    predicted: NextTokens


class _LossTables:
    """Losses under every intervention of some plans, which grow sequence by sequence."""

    def __init__(self, model: LanguageModel, plans: Sequence[ResidualEdits | FeatureEdits], batch_size: int):
        self._model, self._plans, self._batch_size = model, plans, batch_size
        self.log_ppl: list[float] = []
        self._sequences: list[list[dict[Intervention, SequenceLosses]]] = []

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
        n = len(unedited.predicted.losses)
        self.log_ppl.append(unedited.predicted.losses.mean())
        self._sequences.append([{} for _ in self._plans])
        for layer in sorted({plan.layer for plan in self._plans}):
            changed = []
            for edited in self._edited(layer, residuals, editable[layer]):
                if edited.first < n:
                    changed.append(edited)
                else:
                    edited.losses[edited.intervention] = SequenceLosses(int(edited.mask.sum()), self.log_ppl[-1])
            share_prefixes(changed)
            while changed:  # those without a parent first, then those whose parents were run
                runs: dict[int, list[Edited]] = {}
                for edited in changed:
                    if edited.parent is None or edited.parent.place is not None:
                        runs.setdefault(id(self._place(edited, unedited)[0]), []).append(edited)
                for ready in runs.values():
                    n_tokens = np.array([len(edited.to_run) for edited in ready], dtype=np.int64)
                    for stack in stacks(n_tokens, self._batch_size * (n + 1)):
                        self._run(layer, [ready[i] for i in stack], unedited)
                changed = [edited for edited in changed if edited.numbers is None]

    def _edited(self, layer: int, residuals: Mapping[int, Tensor], editable: Tensor) -> Iterator[Edited]:
        """The sequence after each edit at a layer."""
        for plan, losses in zip(self._plans, self._sequences[-1]):
            if plan.layer == layer:
                for intervention, mask, residual in plan.edits(residuals, editable):
                    yield Edited(intervention, losses, mask.cpu().numpy(), residual)

    @staticmethod
    def _place(edited: Edited, unedited: _Unedited) -> tuple[CachedRun, int]:
        """The pass that holds the tokens before those to run, and the row there."""
        place = None if edited.parent is None else edited.parent.place
        return (unedited.run, unedited.row) if place is None else place

    def _run(self, layer: int, stack: Sequence[Edited], unedited: _Unedited) -> None:
        """The blocks above the layer, once for all edits of a stack."""
        residuals = torch.nn.utils.rnn.pad_sequence([edited.to_run for edited in stack], batch_first=True)
        places = [self._place(edited, unedited) for edited in stack]
        rows = torch.tensor([row for _, row in places], device=residuals.device)
        begin = torch.tensor([edited.begin for edited in stack], device=residuals.device)
        run = rerun(self._model, places[0][0], rows, begin, layer, residuals)
        numbers = unedited.predicted.compare(run.hidden, begin).cpu().numpy()  # one copy from the device for the stack
        if not np.isfinite(numbers).all():
            raise NonFiniteError(
                "an edited residual makes the model output NaN or infinity",
                cure="run the model in bfloat16 or float32 (model.dtype)",
            )
        for row, (edited, own) in enumerate(zip(stack, numbers)):
            own = own[:, : len(edited.to_run)]
            if edited.parent is not None and edited.parent.numbers is not None:
                own = np.concatenate([edited.parent.numbers[:, : edited.begin - edited.first], own], axis=1)
            edited.numbers, edited.place = own, (run, row) if edited.is_parent else None
            edited.losses[edited.intervention] = _sequence_losses(edited, own, unedited.predicted.losses)


def _sequence_losses(edited: Edited, numbers: np.ndarray, clean: np.ndarray) -> SequenceLosses:
    """Of losses and KL [2, t-1-first] of an edit and the losses [t-1] of the unedited model."""
    losses, kl = numbers
    return SequenceLosses(
        int(edited.mask.sum()),
        log_ppl=(clean[: edited.first].sum() + losses.sum()) / len(clean),
        log_ppl_edited_onwards=losses.mean(),
        clean_edited_onwards=clean[edited.first :].mean(),
        kl=max(kl.mean(), 0.0),  # below 0 by rounding only
    )
