"""What a model loses when transcoders' outputs take the place of the MLP's: cross-entropy recovered, and KL."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel, pad
from ato.saes.splicing import SpliceLosses
from ato.saes.transcoder import Transcoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

_LOGIT_TOKENS = 256
"""Tokens whose two distributions are held at once."""


def transcoder_splice(
    model: LanguageModel,
    transcoders: Mapping[str, tuple[int, Transcoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    sites: tuple[str, str] = ("mlp_in", "mlp_out"),
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses and KL with each transcoder's output, or zero, in place of what its layer writes.

    A transcoder reads x of the very pass that it changes. Edited are all positions except the first of a sequence
    and special tokens, as in ``ato.saes.splicing``.

    Args:
        model: the model.
        transcoders: name -> (layer, transcoder).
        sequences: held-out sequences; sums come back in their order.
        batch_size: sequences in one pass.
        sites: what is read and what is replaced; the first must be passed before the second.
        on_sequences: called with the number of sequences after each batch.

    Raises:
        SAEError: a transcoder of another layer, site or width.
    """
    for layer, transcoder in transcoders.values():
        transcoder.check_sites(*sites, layer)
    layers = sorted({layer for layer, _ in transcoders.values()})
    clean, n = np.zeros(len(sequences)), len(sequences)
    spliced, kl = ({name: np.zeros(n) for name in transcoders} for _ in range(2))
    zero, kl_zero = ({layer: np.zeros(n) for layer in layers} for _ in range(2))
    by_length = np.argsort([len(s.token_ids) for s in sequences], kind="stable")  # little padding in a batch
    for start in range(0, n, batch_size):
        rows = by_length[start : start + batch_size]
        with torch.inference_mode():
            batch = _Batch(model, [sequences[row] for row in rows], sites)
            clean[rows] = batch.clean
            for layer in layers:
                zero[layer][rows], kl_zero[layer][rows] = batch.edited(layer, None)
            for name, (layer, transcoder) in transcoders.items():
                spliced[name][rows], kl[name][rows] = batch.edited(layer, transcoder)
        if on_sequences is not None:
            on_sequences(len(rows))
    return SpliceLosses(
        sequence_id=np.array([s.sequence_id for s in sequences], dtype=np.int64),
        document=np.array([s.document for s in sequences], dtype=np.int64),
        n_predicted=np.array([len(s.token_ids) - 1 for s in sequences], dtype=np.int64),
        clean=clean,
        spliced=spliced,
        zero=zero,
        layer={name: layer for name, (layer, _) in transcoders.items()},
        kl=kl,
        kl_zero=kl_zero,
    )


class _Batch:
    """Sequences that are run unedited once, and then with one edit after the other."""

    def __init__(self, model: LanguageModel, sequences: Sequence["TokenSequence"], sites: tuple[str, str]):
        ids, lengths = (x.to(model.device) for x in pad([s.token_ids for s in sequences]))
        self._model, self._ids, self._lengths, self._sites = model, ids, lengths, sites
        position = torch.arange(ids.shape[1], device=ids.device)
        special = torch.tensor(sorted(model.special_token_ids), dtype=ids.dtype, device=ids.device)
        self._editable = (position > 0) & (position < lengths[:, None]) & ~torch.isin(ids, special)
        self._hidden = model.run_padded(ids, lengths).hidden
        self.clean = self._losses(self._hidden)
        """[b] losses of the unedited model, summed over predicted tokens."""

    def _losses(self, hidden: Tensor) -> np.ndarray:
        return self._model.losses(hidden, self._ids, self._lengths).double().sum(1).cpu().numpy()

    def edited(self, layer: int, transcoder: Transcoder | None) -> tuple[np.ndarray, np.ndarray]:
        """[b] losses and [b] KL, with zero in place of what the layer writes if there is no transcoder."""
        read: dict[int, Tensor] = {}

        def noted(site: str, at: int, x: Tensor) -> Tensor:
            read[at] = x
            return x[:0]

        edit: Edit = partial(_replaced, self._editable, transcoder, read, layer)
        hidden = self._model.run_padded(
            self._ids,
            self._lengths,
            edits={layer: edit},
            site=self._sites[1],
            beside={} if transcoder is None else {self._sites[0]: [layer]},
            keep_beside=noted,
        ).hidden
        kl = torch.zeros(len(hidden), dtype=torch.float64, device=hidden.device)
        predicts = torch.arange(hidden.shape[1], device=hidden.device) < self._lengths[:, None] - 1
        row = predicts.nonzero()[:, 0]
        at = 0
        for log_p, log_q in self._distributions(self._hidden[predicts], hidden[predicts]):
            divergence = (log_p.exp() * (log_p - log_q)).sum(1).double()
            kl.index_add_(0, row[at : at + len(log_p)], divergence)
            at += len(log_p)
        return self._losses(hidden), kl.clamp_min(0).cpu().numpy()  # below 0 by rounding only

    def _distributions(self, *hiddens: Tensor) -> Iterator[list[Tensor]]:
        for parts in zip(*(hidden.split(_LOGIT_TOKENS) for hidden in hiddens), strict=True):
            yield [self._model.logits(part).float().log_softmax(1) for part in parts]


def _replaced(
    editable: Tensor, transcoder: Transcoder | None, read: Mapping[int, Tensor], layer: int, y: Tensor
) -> Tensor:
    """y [b, t, d] with the transcoder's output, or 0, at the editable tokens."""
    if transcoder is None:
        return y.masked_fill(editable[..., None], 0.0)
    edited = y.clone()
    edited[editable] = transcoder.reconstruct(read[layer].view(*y.shape[:2], -1)[editable]).to(y.dtype)
    return edited
