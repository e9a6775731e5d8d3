"""Causal effect of features: how much the next-token loss rises when their contribution is taken out of the stream."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.errors import InputError
from ato.models.language_model import LanguageModel, pad
from ato.numerics.bootstrap import DEFAULT_BOOTSTRAP, Bootstrap, EstimateArray, document_bootstrap
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


@dataclass(frozen=True)
class _Firings:
    """Where the candidates of one SAE are active in the text: arrays [m], ordered by (slot, row, position)."""

    slot: np.ndarray
    """Index of the feature among the candidates."""
    row: np.ndarray
    """Index of the sequence."""
    position: np.ndarray
    value: np.ndarray


@dataclass(frozen=True)
class _Window:
    """One feature ablated in one sequence."""

    slot: int
    row: int
    end: int
    """Position behind the window; nothing behind it is run."""
    positions: np.ndarray
    """[e] edited positions, ascending."""
    values: np.ndarray
    """[e] activations there."""

    @property
    def n_predicted(self) -> int:
        """Tokens of the window that are predicted at or behind the first edited position."""
        return self.end - 1 - int(self.positions[0])


def ablation_effects(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder, np.ndarray]],
    sequences: Sequence["TokenSequence"],
    *,
    n_sequences: int = 4,
    n_tokens: int = 64,
    batch_size: int = 16,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    bootstrap: Bootstrap = DEFAULT_BOOTSTRAP,
    on_rows: Callable[[int, int], None] | None = None,
) -> dict[str, AblationEffects]:
    """Rise of the next-token loss when ``a_f * d_f`` is subtracted from the residual, feature by feature.

    The first 2 x n_tokens tokens of every sequence are run once, with all layers of the SAEs read on the way and the
    clean losses at the end. Each candidate is then ablated in the sequences where it is most active (in as many
    documents as possible): in a window of ``n_tokens`` tokens around its strongest activation, at all positions of the
    window where it is active. Such rows are batched over features and sequences, and only the blocks above the SAE's
    layer run for them, up to the end of the window: what lies behind cannot change what is predicted within. The
    effect is the mean, over the tokens predicted from the first edited position to the end of the window, of the
    edited minus the clean loss.

    Activations are the SAE's own on the model's residual. Never edited are position 0, special tokens and (where
    ``median_norm`` is given) tokens whose residual norm exceeds ``max_norm_multiple`` times the layer's median: no
    SAE here is trained on them.

    In bfloat16 the rounding of the model alone moves a loss by about 0.03 nats a token (measured on SmolLM2-135M with
    edits of size 0: 0.004 in the effect of two windows of 32 tokens, against 1e-7 in float32). It averages out over
    tokens; an interval that holds 0 says so.

    Args:
        saes: name -> (layer, SAE of the residual stream there, candidates [c]).
        sequences: held-out text; the residuals of all of them are held at once.
        n_sequences: sequences a candidate is ablated in, at most.
        n_tokens: tokens of a window.
        batch_size: rows in one pass.
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
    text = _HeldOutText(model, token_ids, sorted({layer for layer, _, _ in saes.values()}), batch_size)
    windows = {}
    for name, (layer, sae, candidates) in saes.items():
        firings = text.firings(layer, sae, candidates, limits.get(layer))
        windows[name] = _choose_windows(firings, token_ids, document, n_sequences, n_tokens)
    total, done, effects = sum(map(len, windows.values())), 0, {}
    for name, (layer, sae, candidates) in saes.items():
        rises = np.zeros(len(windows[name]))
        by_length = sorted(range(len(rises)), key=lambda i: windows[name][i].end)  # little padding in a batch
        for start in range(0, len(by_length), batch_size):
            chosen = by_length[start : start + batch_size]
            directions = sae.W_dec[torch.as_tensor(candidates[[windows[name][i].slot for i in chosen]])]
            rises[chosen] = text.rises(layer, directions, [windows[name][i] for i in chosen])
            done += len(chosen)
            if on_rows is not None:
                on_rows(done, total)
        effects[name] = _summarise(candidates, windows[name], rises, document, bootstrap)
    return effects


class _HeldOutText:
    """Held-out text whose residuals and clean losses are known; passes start from there."""

    def __init__(self, model: LanguageModel, token_ids: list[np.ndarray], layers: list[int], batch_size: int):
        self._model, self._ids = model, token_ids
        shape = len(token_ids), max(map(len, token_ids), default=1)
        self._clean = torch.zeros(shape[0], shape[1] - 1, device=model.device)
        self._residuals = {
            layer: torch.zeros(*shape, model.d_model, dtype=model.dtype, device=model.device) for layer in layers
        }
        by_length = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
        for start in range(0, len(by_length), batch_size):
            rows = by_length[start : start + batch_size]
            ids, lengths = (x.to(model.device) for x in pad([token_ids[row] for row in rows]))
            with torch.inference_mode():
                streams = model.residuals(ids, lengths, layers)
                self._clean[rows, : ids.shape[1] - 1] = model.losses_from(layers[-1], streams[layers[-1]], ids, lengths)
                for layer in layers:
                    self._residuals[layer][rows, : ids.shape[1]] = streams[layer]

    def firings(self, layer: int, sae: SparseAutoencoder, candidates: np.ndarray, limit: float | None) -> _Firings:
        """Where candidates are active on tokens that may be edited and that something is predicted from."""
        slot_of = np.full(sae.d_sae, -1)
        slot_of[candidates] = np.arange(len(candidates))
        special = sorted(self._model.special_token_ids)
        found = [(np.zeros(0, int), np.zeros(0, int), np.zeros(0, int), np.zeros(0))]
        for row, (ids, padded) in enumerate(zip(self._ids, self._residuals[layer], strict=True)):
            x = padded[: len(ids)].to(sae.W_dec)
            active = sae.active(x)
            token, slot = active.token.cpu().numpy(), slot_of[active.feature.cpu().numpy()]
            editable = (np.arange(len(ids)) > 0) & (np.arange(len(ids)) < len(ids) - 1) & ~np.isin(ids, special)
            if limit is not None:
                editable &= (x.norm(dim=1) <= limit).cpu().numpy()
            kept = (slot >= 0) & editable[token]
            value = active.value.double().cpu().numpy()
            found.append((slot[kept], np.full(kept.sum(), row), token[kept], value[kept]))
        slots, rows, positions, values = (np.concatenate(parts) for parts in zip(*found, strict=True))
        order = np.lexsort((positions, rows, slots))
        return _Firings(slots[order], rows[order], positions[order], values[order])

    def rises(self, layer: int, directions: torch.Tensor, windows: Sequence[_Window]) -> np.ndarray:
        """Sum of edited minus clean losses of each window, one pass for all."""
        device = self._model.device
        ids, lengths = (x.to(device) for x in pad([self._ids[w.row][: w.end] for w in windows]))
        rows = torch.tensor([w.row for w in windows], device=device)
        first = torch.tensor([int(w.positions[0]) for w in windows], device=device)[:, None]
        position = torch.arange(ids.shape[1] - 1, device=device)
        counted = (position >= first) & (position < lengths[:, None] - 1)
        # Where and how much of its direction is taken out of each window, all at once.
        window = torch.from_numpy(np.repeat(np.arange(len(windows)), [len(w.positions) for w in windows])).to(device)
        edited_at = torch.from_numpy(np.concatenate([w.positions for w in windows])).to(device)
        value = torch.from_numpy(np.concatenate([w.values for w in windows])).to(device, torch.float32)
        residual = self._residuals[layer][rows, : ids.shape[1]].to(torch.float32, copy=True)
        residual[window, edited_at] -= value[:, None] * directions.to(residual)[window]
        edited, clean = residual.to(self._model.dtype), self._clean[rows, : ids.shape[1] - 1]
        with torch.inference_mode():
            hidden = self._model.hidden_from(layer, edited, ids, lengths)
            logits = self._model.logits(hidden[:, :-1][counted]).float()
            losses = torch.nn.functional.cross_entropy(logits, ids[:, 1:][counted], reduction="none")
        rise = torch.zeros(counted.shape, dtype=torch.float64, device=device)
        rise[counted] = losses.double() - clean[counted].double()
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


def _choose_windows(
    firings: _Firings, token_ids: list[np.ndarray], document: np.ndarray, n_sequences: int, n_tokens: int
) -> list[_Window]:
    """The windows of every candidate: its strongest sequences, those of documents not yet chosen first."""
    if not len(firings.slot):
        return []
    starts = np.flatnonzero(
        np.append(True, (np.diff(firings.slot) != 0) | (np.diff(firings.row) != 0))
    )  # one run a (candidate, sequence)
    ends = np.append(starts[1:], len(firings.slot))
    slot, row, strongest = firings.slot[starts], firings.row[starts], np.maximum.reduceat(firings.value, starts)
    turn = _number_in_run(
        np.lexsort((row, -strongest, document[row], slot)), slot * len(document) + _codes(document)[row]
    )
    rank = _number_in_run(np.lexsort((row, -strongest, turn, slot)), slot)
    windows = []
    for run in np.flatnonzero(rank < n_sequences):
        inside = slice(starts[run], ends[run])
        peak = int(firings.position[inside][firings.value[inside].argmax()])
        length = len(token_ids[row[run]])
        start = max(0, min(peak - (n_tokens - 1) // 2, length - n_tokens))
        end = min(length, start + n_tokens)
        positions, values = firings.position[inside], firings.value[inside]
        kept = (positions >= start) & (positions < end - 1)  # from the last one nothing in the window is predicted
        windows.append(_Window(int(slot[run]), int(row[run]), end, positions[kept], values[kept]))
    return windows


def _codes(values: np.ndarray) -> np.ndarray:
    return np.unique(values, return_inverse=True)[1]


def _number_in_run(order: np.ndarray, group: np.ndarray) -> np.ndarray:
    """For rows put in an order in which groups are runs: the number [n] of each row within its group, from 0."""
    sorted_group = group[order]
    first = np.flatnonzero(np.append(True, np.diff(sorted_group) != 0))
    number = np.empty(len(order), dtype=np.int64)
    number[order] = np.arange(len(order)) - np.repeat(first, np.diff(np.append(first, len(order))))
    return number


@dataclass(frozen=True)
class _RiseSums:
    """Sums per document of each candidate, [documents, c]."""

    rise: np.ndarray
    n: np.ndarray
    """Predicted tokens."""


def _summarise(
    candidates: np.ndarray, windows: list[_Window], rises: np.ndarray, document: np.ndarray, bootstrap: Bootstrap
) -> AblationEffects:
    code = _codes(document)
    shape = (int(code.max(initial=-1)) + 1, len(candidates))
    sums = _RiseSums(np.zeros(shape), np.zeros(shape))
    for window, rise in zip(windows, rises, strict=True):
        sums.rise[code[window.row], window.slot] += rise
        sums.n[code[window.row], window.slot] += window.n_predicted
    n_tokens, n_documents = sums.n.sum(0).astype(np.int64), (sums.n > 0).sum(0)
    effect = document_bootstrap(sums, _mean_rise, bootstrap).bounded_where(n_documents >= 2)
    return AblationEffects(np.asarray(candidates), effect, n_tokens, n_documents)


def _mean_rise(sums: _RiseSums) -> np.ndarray:
    return np.divide(sums.rise, sums.n, out=np.full(sums.n.shape, np.nan), where=sums.n > 0)
