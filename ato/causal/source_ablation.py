"""Does the model do what an operator says of a feature? Its direction is ablated at the source, its change read at the target.

1. At a token on which the feature is active, the residual x of a source layer is moved to its train mean along one
   direction r: x' = x - r r.(x - mean x).
2. The operator T predicts that the target's projection a = y.u on the feature's unit decoder row changes by
   u.T (x' - x).
3. The blocks between the layers are run again for that token alone, and the change of a is measured.

The direction is the one that the operator reads the feature from, its pull-back T'u: no other direction of equal length
has a larger predicted change, and no SAE at the source is needed. Where prediction and measurement agree the direction
carries the feature; where they do not, it only goes along with it.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ato.causal.ablation_agreement import AblationAgreement, ChangeSums, agreements
from ato.causal.losses import STUDIED_TOKENS
from ato.errors import InputError, LayerError
from ato.models.cached_run import CachedRun, cached_run, residuals_after
from ato.models.language_model import LanguageModel, pad
from ato.numerics.counter_rng import uniforms
from ato.numerics.document_sums import DocumentSums
from ato.operators.operator import TransportOperator
from ato.residuals.exclusion import ExclusionPolicy
from ato.saes.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

PULLBACK, MATCHED, RANDOM = DIRECTIONS = ("pullback", "matched", "random")
"""Taken out of the source: along T'u; what a feature of the source's SAE writes there; along a random direction, as much
as along T'u."""
_ROWS = 128
"""Tokens that are run again at once; each brings the keys and values of the tokens before it."""


@dataclass(frozen=True, eq=False)
class SourceLayer:
    """Where features are ablated."""

    operator: TransportOperator
    """From this layer to the target."""
    sae: SparseAutoencoder | None = None
    """The SAE of this layer, for the direction ``matched``."""
    matched: np.ndarray | None = None
    """[c] int64, its feature that goes with each of the target's; -1: none."""


def source_ablations(
    model: LanguageModel,
    target: tuple[int, SparseAutoencoder, Sequence[int]],
    sources: Mapping[int, SourceLayer],
    sequences: Sequence["TokenSequence"],
    *,
    n_tokens: int = 4,
    batch_size: int = 8,
    policy: ExclusionPolicy = STUDIED_TOKENS,
    median_norm: Mapping[int, float] | None = None,
    seed: int = 0,
    on_sequence: Callable[[], object] | None = None,
) -> dict[int, dict[str, AblationAgreement]]:
    """Source layer -> direction -> agreement of the features, on tokens on which the target's SAE has them active.

    Only the ablated token is run again, one ablation at a time: its keys and values for later tokens change nothing that
    is measured. Of a sequence at most ``n_tokens`` active tokens of a feature are taken, drawn by a hash of feature,
    sequence and position, so that batches and order change nothing. Memory is sums of documents x directions x features,
    and one batch.

    Args:
        model: runs in its own precision; changes are differences to the same pass without an ablation.
        target: layer, its SAE and the features [c].
        sources: earlier layer -> operator to the target, and the features that go with them.
        sequences: held-out text.
        n_tokens: active tokens of a feature in one sequence, at most.
        batch_size: sequences in one forward pass.
        policy: tokens that are never ablated.
        median_norm: layer -> median residual norm, for the policy.
        seed: of the tokens and the random directions.
        on_sequence: called after each sequence.

    Raises:
        InputError: a feature that the SAE does not have, or that is named twice.
        LayerError: a layer is not in the model, or no source lies before the target.
    """
    layer, sae, features = target
    if wrong := [f for f in features if not 0 <= f < sae.d_sae]:
        raise InputError(f"the SAE has no feature {wrong[:5]}", cure=f"use features 0 to {sae.d_sae - 1}")
    if len({*features}) < len(features):
        raise InputError("a feature is named twice", where=f"layer {layer}", cure="name each once")
    if late := sorted(source for source in sources if source >= layer):
        raise LayerError(f"layers {late} do not lie before {layer}", cure="ablate at earlier layers")
    model.check_layers([*sources, layer])
    ablated = {s: _AblatedLayer(s, of, sae, features, seed, model.device) for s, of in sources.items()}
    chosen = _ActiveTokens(sae, np.asarray(features, dtype=np.int64), n_tokens, seed)
    limits = {at: (policy.max_norm_multiple or np.inf) * norm for at, norm in (median_norm or {}).items()}
    for start in range(0, len(sequences) if ablated and len(features) else 0, batch_size):
        batch = sequences[start : start + batch_size]
        ids, lengths = (x.to(model.device) for x in pad([q.token_ids for q in batch]))
        with torch.inference_mode():
            run = cached_run(model, ids, lengths, [*ablated, layer], stop=layer)
            places = _Places.joined(
                [
                    chosen.of(row, q, run, layer, _kept(q, row, run, limits, policy, model))
                    for row, q in enumerate(batch)
                ]
            )
            for one in ablated.values():
                one.measure(model, run, places, layer)
        for _ in batch if on_sequence is not None else ():
            on_sequence()  # type: ignore[misc]
    return {source: one.result(len(features)) for source, one in ablated.items()}


def _kept(
    sequence: "TokenSequence",
    row: int,
    run: CachedRun,
    limits: Mapping[int, float],
    policy: ExclusionPolicy,
    model: LanguageModel,
) -> np.ndarray:
    """Mask [t] of the tokens that statistics are made of."""
    ids = sequence.token_ids
    kept, _ = policy.keep_tokens(ids, np.arange(len(ids)), model.special_token_ids)
    for layer, residuals in run.residuals.items():
        norm = residuals[row, : len(ids)].float().norm(dim=-1)
        kept = kept & ~(norm > limits.get(layer, np.inf)).cpu().numpy()
    return kept


@dataclass(frozen=True)
class _Places:
    """(feature, token) pairs of a batch, arrays [m]."""

    slot: np.ndarray
    """Index of the feature among the c."""
    row: np.ndarray
    """Of the batch."""
    position: np.ndarray
    document: np.ndarray

    @classmethod
    def joined(cls, parts: Sequence["_Places"]) -> "_Places":
        return cls(*(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__annotations__))

    def part(self, chosen: np.ndarray) -> "_Places":
        return _Places(*(getattr(self, name)[chosen] for name in self.__annotations__))


class _ActiveTokens:
    """Draws tokens on which features are active."""

    def __init__(self, sae: SparseAutoencoder, features: np.ndarray, n_tokens: int, seed: int):
        self._sae, self._features, self._n_tokens, self._seed = sae, features, n_tokens, seed
        self._slot_of = np.full(sae.d_sae, -1)
        self._slot_of[features] = np.arange(len(features))

    def of(self, row: int, sequence: "TokenSequence", run: CachedRun, layer: int, kept: np.ndarray) -> _Places:
        """Those of one sequence."""
        active = self._sae.active(run.residuals[layer][row, : len(sequence.token_ids)].to(self._sae.W_dec))
        position, slot = active.token.cpu().numpy(), self._slot_of[active.feature.cpu().numpy()]
        own = (slot >= 0) & kept[position]
        position, slot = position[own], slot[own]
        drawn = uniforms(self._seed, self._features[slot], sequence.sequence_id, position)
        order = np.lexsort((position, drawn, slot))
        position, slot = position[order], slot[order]
        number = np.arange(len(slot)) - np.searchsorted(slot, slot)
        few = number < self._n_tokens
        n = int(few.sum())
        return _Places(slot[few], np.full(n, row), position[few], np.full(n, sequence.document))


class _AblatedLayer:
    """One source layer: what is taken out there, and sums of what comes of it."""

    def __init__(
        self,
        layer: int,
        of: SourceLayer,
        sae: SparseAutoencoder,
        features: Sequence[int],
        seed: int,
        device: torch.device,
    ):
        matrix = of.operator.matrix
        u = sae.decoder_directions[list(features)].detach().double().cpu().numpy()
        pulled = u @ matrix
        # A random direction a feature, whatever other features are asked for.
        random = np.array([np.random.default_rng([seed, layer, f]).standard_normal(matrix.shape[1]) for f in features])
        mean = np.zeros(matrix.shape[1]) if of.operator.x_mean is None else of.operator.x_mean
        self._layer, self._of = layer, of
        self._u, self._reads, self._mean = (torch.from_numpy(x).to(device) for x in (u, pulled, mean))
        self._unit = {PULLBACK: _units(self._reads), RANDOM: _units(torch.from_numpy(random).to(device))}
        self._sums: DocumentSums[ChangeSums] = DocumentSums()

    def measure(self, model: LanguageModel, run: CachedRun, places: _Places, target: int) -> None:
        """Ablate at the places of a batch, the early ones first: rows of one pass are padded to the longest."""
        order = np.lexsort((places.slot, places.row, places.position))
        for start in range(0, len(order), _ROWS // (1 + len(DIRECTIONS))):
            part = places.part(order[start : start + _ROWS // (1 + len(DIRECTIONS))])
            self._measure(model, run, part, target)

    def _measure(self, model: LanguageModel, run: CachedRun, places: _Places, target: int) -> None:
        row, first, slot = (torch.from_numpy(x).to(self._u.device) for x in (places.row, places.position, places.slot))
        x = run.residuals[self._layer][row, first]
        taken = torch.stack([self._taken(name, x.double(), slot) for name in DIRECTIONS])  # [directions, m, d]
        # Unedited rows are run beside the edited ones: what their rounding shares drops out of the difference.
        stream = torch.cat([x[None], (x.double() - taken).to(x.dtype)])
        done = stream[1:].double() - x.double()  # as the model's precision has it
        n = len(stream)
        y = residuals_after(
            model, run, row.repeat(n), first.repeat(n), (self._layer, stream.reshape(-1, 1, x.shape[-1])), target
        ).reshape(n, len(x), -1)
        u = self._u[slot]
        measured = ((y[1:].double() - y[:1].double()) * u).sum(-1).cpu().numpy()
        predicted = (done * self._reads[slot]).sum(-1).cpu().numpy()
        identity = (done * u).sum(-1).cpu().numpy() if u.shape[-1] == x.shape[-1] else np.full_like(measured, np.nan)
        counted = taken.abs().amax(-1).gt(0).cpu().numpy().astype(float)
        products = (counted, predicted**2, measured**2, predicted * measured, identity**2, identity * measured)
        documents, code = np.unique(places.document, return_inverse=True)
        shape = (len(documents), len(DIRECTIONS), len(self._u))
        sums = ChangeSums(*(np.zeros(shape) for _ in products))
        for into, values in zip(vars(sums).values(), products, strict=True):
            for direction, own in enumerate(values):
                np.add.at(into[:, direction], (code, places.slot), np.where(counted[direction] > 0, own, 0))
        self._sums.add(documents, sums)

    def _taken(self, name: str, x: Tensor, slot: Tensor) -> Tensor:
        """What is taken out of residuals [m, d] along a direction."""
        along = ((x - self._mean) * self._unit[PULLBACK][slot]).sum(-1, keepdim=True)
        if name != MATCHED:
            return along * self._unit[name][slot]
        sae, matched = self._of.sae, self._of.matched
        if sae is None or matched is None:
            return torch.zeros_like(x)
        feature = torch.from_numpy(np.asarray(matched)).to(x.device)[slot]
        activations = sae.encode(x.to(sae.W_dec)).gather(1, feature.clamp(min=0)[:, None])
        activations = torch.where(feature[:, None] < 0, 0, activations)
        return (activations * sae.W_dec[feature.clamp(min=0)]).to(x)

    def result(self, n_features: int) -> dict[str, AblationAgreement]:
        """Direction -> agreement of the features."""
        nothing = np.zeros((1, len(DIRECTIONS), n_features))
        sums = self._sums.sums() if len(self._sums) else ChangeSums(*[nothing] * 6)
        return dict(zip(DIRECTIONS, agreements(sums), strict=True))


def _units(rows: Tensor) -> Tensor:
    return rows / rows.norm(dim=-1, keepdim=True).clamp_min(torch.finfo(rows.dtype).tiny)
