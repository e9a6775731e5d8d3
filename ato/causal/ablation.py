"""Causal effect of features: how much the next-token loss rises when their contribution is taken out of the stream."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ato.causal.ablation_windows import Firings, Window, choose_windows, document_codes, joined
from ato.causal.stacks import stacks
from ato.errors import InputError
from ato.models.cached_run import CachedRun, cached_run, rerun
from ato.models.language_model import LanguageModel, pad
from ato.numerics.intervals import EstimateArray, document_interval
from ato.numerics.ratios import ratio
from ato.saes.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence


@dataclass(frozen=True)
class AblationEffects:
    """Effects of the features of one SAE, in nats per predicted token; NaN for features that fire nowhere."""

    feature_id: np.ndarray
    """[c] int64, as asked for."""
    effect: EstimateArray
    """[c] mean rise of the loss over the predicted tokens of all windows."""
    n_tokens: np.ndarray
    """[c] int64, predicted tokens behind the effect."""
    n_documents: np.ndarray
    """[c] int64."""
    documents: np.ndarray
    """[documents] int64, the documents of the sequences, ascending."""
    rises: np.ndarray
    """[documents, c] sum of the rises in each, over its predicted tokens: what the effects are made from."""


def ablation_effects(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder, np.ndarray]],
    sequences: Sequence["TokenSequence"],
    *,
    n_sequences: int = 10,
    n_tokens: int = 64,
    batch_size: int = 16,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    on_rows: Callable[[int, int], None] | None = None,
) -> dict[str, AblationEffects]:
    """Rise of the next-token loss when ``a_f * d_f`` is subtracted from the residual, feature by feature.

    The first 2 x n_tokens tokens of every sequence are run up to the highest layer of the SAEs, to see where features
    are active. Each candidate is then ablated in the sequences where it is most active (in as many documents as
    possible): in a window of ``n_tokens`` tokens around its strongest activation, at all positions of the window where
    it is active. Sequences are run again a batch at a time, with the keys and values of their tokens kept: an ablation
    runs the blocks above the SAE's layer from its first edited position to the end of its window, since nothing before
    that position changes and nothing behind the window counts; such rows are stacked over features and sequences. The
    effect is the mean, over the tokens predicted from the first edited position to the end of the window, of the
    edited minus the clean loss.

    Activations are the SAE's own on the model's residual. Never edited are position 0, special tokens and (where
    ``median_norm`` is given) tokens whose residual norm exceeds ``max_norm_multiple`` times the layer's median: no
    SAE here is trained on them.

    In bfloat16 the rounding of the model alone moves a loss by about 0.03 nats per token (measured on SmolLM2-135M with
    edits of size 0: 0.004 in the effect of two windows of 32 tokens, against 1e-7 in float32). It averages out over
    tokens; an interval that holds 0 says so.

    Args:
        saes: name -> (layer, SAE of the residual stream there, candidates [c]).
        sequences: held-out text; the residuals of all of them at the lowest layer are held at once.
        n_sequences: sequences a candidate is ablated in, at most; of another document each, as far as it is active in
            so many.
        n_tokens: tokens of a window.
        batch_size: sequences in one pass; ablations are stacked up to as many tokens.
        median_norm: layer -> median residual norm.
        on_rows: told (rows done, rows in all) after each batch.

    Raises:
        InputError: a feature id beyond d_sae, or a window of fewer than two tokens.
    """
    saes = {
        name: (layer, sae, np.asarray(candidates, dtype=np.int64)) for name, (layer, sae, candidates) in saes.items()
    }
    _check(saes, n_tokens)
    sequences = [sequence for sequence in sequences if len(sequence.token_ids) >= 2]
    token_ids = [np.asarray(sequence.token_ids[: 2 * n_tokens]) for sequence in sequences]
    document = np.array([sequence.document for sequence in sequences], dtype=np.int64)
    limits = {layer: max_norm_multiple * norm for layer, norm in (median_norm or {}).items()}
    text = _HeldOutText(model, token_ids, batch_size)
    firings = text.firings(saes, limits)
    windows = {name: choose_windows(firings[name], token_ids, document, n_sequences, n_tokens) for name in saes}
    rises = {name: np.zeros(len(windows[name])) for name in saes}
    total, done = sum(map(len, windows.values())), 0
    for rows, run in text.runs():
        for name, (layer, sae, candidates) in saes.items():
            own = np.array([i for i, window in enumerate(windows[name]) if window.row in rows], dtype=np.int64)
            n_run = np.array([windows[name][i].n_predicted for i in own], dtype=np.int64)
            for stack in stacks(n_run, run.clean.numel()):
                chosen = [windows[name][i] for i in own[stack]]
                directions = sae.W_dec[torch.as_tensor(candidates[[window.slot for window in chosen]])]
                rises[name][own[stack]] = run.rises(layer, directions, chosen, rows)
                done += len(chosen)
                if on_rows is not None:
                    on_rows(done, total)
    return {
        name: _summarise(candidates, windows[name], rises[name], document) for name, (_, _, candidates) in saes.items()
    }


class _HeldOutText:
    """Held-out text, run twice: to see where features are active, and batch by batch to ablate them."""

    def __init__(self, model: LanguageModel, token_ids: list[np.ndarray], batch_size: int):
        self._model, self._ids = model, token_ids
        by_length = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
        self._batches = [by_length[start : start + batch_size] for start in range(0, len(by_length), batch_size)]
        self._layers: list[int] = []
        self._lowest: list[Tensor] = []

    def firings(
        self, saes: Mapping[str, tuple[int, SparseAutoencoder, np.ndarray]], limits: Mapping[int, float]
    ) -> dict[str, Firings]:
        """SAE -> where its candidates are active on tokens that may be edited and that something is predicted from."""
        self._layers = sorted({layer for layer, _, _ in saes.values()})
        found: dict[str, list[Firings]] = {name: [] for name in saes}
        for rows in self._batches:
            with torch.inference_mode():
                streams = self._model.residuals(*self._padded(rows), self._layers)
                for name, (layer, sae, candidates) in saes.items():
                    found[name] += [
                        self._firings(sae, candidates, row, own[: len(self._ids[row])], limits.get(layer))
                        for row, own in zip(rows, streams[layer], strict=True)
                    ]
            self._lowest.append(streams[self._layers[0]])
        return {name: joined(parts) for name, parts in found.items()}

    def runs(self) -> Iterator[tuple[dict[int, int], "_Clean"]]:
        """(row -> its place in the batch, the batch) for all rows, from the lowest layer of the SAEs on."""
        for rows, lowest in zip(self._batches, self._lowest, strict=True):
            ids, lengths = self._padded(rows)
            with torch.inference_mode():
                run = cached_run(self._model, ids, lengths, self._layers, start=(self._layers[0], lowest))
                clean = self._model.losses(run.hidden, ids, lengths)
            yield {row: place for place, row in enumerate(rows)}, _Clean(self._model, run, clean)

    def _padded(self, rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        ids, lengths = pad([self._ids[row] for row in rows])
        return ids.to(self._model.device), lengths.to(self._model.device)

    def _firings(
        self, sae: SparseAutoencoder, candidates: np.ndarray, row: int, residual: Tensor, limit: float | None
    ) -> Firings:
        """Those in one sequence."""
        ids, special = self._ids[row], sorted(self._model.special_token_ids)
        slot_of = np.full(sae.d_sae, -1)
        slot_of[candidates] = np.arange(len(candidates))
        x = residual.to(sae.W_dec)
        active = sae.active(x)
        token, slot = active.token.cpu().numpy(), slot_of[active.feature.cpu().numpy()]
        editable = (np.arange(len(ids)) > 0) & (np.arange(len(ids)) < len(ids) - 1) & ~np.isin(ids, special)
        if limit is not None:
            editable &= (x.norm(dim=1) <= limit).cpu().numpy()
        kept = (slot >= 0) & editable[token]
        value = active.value.double().cpu().numpy()
        return Firings(slot[kept], np.full(kept.sum(), row), token[kept], value[kept])


@dataclass(frozen=True)
class _Clean:
    """A batch of sequences in the unedited model."""

    model: LanguageModel
    run: CachedRun
    clean: Tensor
    """[b, t-1] losses."""

    def rises(self, layer: int, directions: Tensor, windows: Sequence[Window], rows: Mapping[int, int]) -> np.ndarray:
        """Sum of edited minus clean losses of each window, one pass for all; ``rows`` places sequences in the batch."""
        device = self.model.device
        n_run = torch.tensor([w.n_predicted for w in windows], device=device)
        row = torch.tensor([rows[w.row] for w in windows], device=device)
        first = torch.tensor([int(w.positions[0]) for w in windows], device=device)
        token = torch.arange(int(n_run.max()), device=device)
        position = (first[:, None] + token).clamp(max=self.clean.shape[1] - 1)  # [b, s]
        # Where and how much of its direction is taken out of each window, all at once.
        window = torch.from_numpy(np.repeat(np.arange(len(windows)), [len(w.positions) for w in windows])).to(device)
        edited_at = torch.from_numpy(np.concatenate([w.positions for w in windows])).to(device) - first[window]
        value = torch.from_numpy(np.concatenate([w.values for w in windows])).to(device, torch.float32)
        residual = self.run.residuals[layer][row[:, None], position].to(torch.float32)
        residual[window, edited_at] -= value[:, None] * directions.to(residual)[window]
        counted, labels = token < n_run[:, None], self.run.input_ids[row[:, None], position + 1]
        with torch.inference_mode():
            hidden = rerun(self.model, self.run, row, first, layer, residual.to(self.model.dtype)).hidden
            losses = self.model.losses_of(hidden[counted], labels[counted])
        rise = torch.zeros(counted.shape, dtype=torch.float64, device=device)
        rise[counted] = losses.double() - self.clean[row[:, None], position][counted].double()
        return rise.sum(1).cpu().numpy()


def _check(saes: Mapping[str, tuple[int, SparseAutoencoder, np.ndarray]], n_tokens: int) -> None:
    if n_tokens < 2:
        raise InputError(f"a window of {n_tokens} token has no next token to predict", cure="use at least 2 tokens")
    for name, (_, sae, candidates) in saes.items():
        wrong = [int(f) for f in np.asarray(candidates) if not 0 <= f < sae.d_sae]
        if wrong:
            raise InputError(
                f"the SAE has no feature {wrong[:5]}", where=name, cure=f"use features 0 to {sae.d_sae - 1}"
            )


@dataclass(frozen=True)
class _RiseSums:
    """Sums per document of each candidate, [documents, c]."""

    rise: np.ndarray
    n: np.ndarray
    """Predicted tokens."""


def _summarise(
    candidates: np.ndarray, windows: list[Window], rises: np.ndarray, document: np.ndarray
) -> AblationEffects:
    code = document_codes(document)
    shape = (int(code.max(initial=-1)) + 1, len(candidates))
    sums = _RiseSums(np.zeros(shape), np.zeros(shape))
    for window, rise in zip(windows, rises, strict=True):
        sums.rise[code[window.row], window.slot] += rise
        sums.n[code[window.row], window.slot] += window.n_predicted
    n_tokens, n_documents = sums.n.sum(0).astype(np.int64), (sums.n > 0).sum(0)
    effect = document_interval(sums, _mean_rise, sums.n)
    return AblationEffects(np.asarray(candidates), effect, n_tokens, n_documents, np.unique(document), sums.rise)


def _mean_rise(sums: _RiseSums) -> np.ndarray:
    return ratio(sums.rise, sums.n)
