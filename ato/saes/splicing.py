"""How much of the model's loss an SAE keeps when its reconstruction is put back into the running model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel, pad
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.sums import map_arrays
from ato.saes.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence


@dataclass(frozen=True)
class SpliceLosses:
    """Next-token losses of sequences, summed over each sequence's predicted tokens, in nats."""

    sequence_id: np.ndarray
    """[n] int64."""
    document: np.ndarray
    """[n] int64."""
    n_predicted: np.ndarray
    """[n] int64, tokens predicted."""
    clean: np.ndarray
    """[n] of the unedited model."""
    spliced: dict[str, np.ndarray]
    """SAE -> [n] with its reconstruction in place of the residual."""
    zero: dict[int, np.ndarray]
    """Layer -> [n] with the residual zeroed."""
    layer: dict[str, int]
    """SAE -> its layer."""


@dataclass(frozen=True)
class CERecovered:
    """Share of the zero-ablation loss increase that splicing an SAE avoids, with mean losses in nats per token."""

    ce_recovered: Estimate
    """(CE zero - CE spliced) / (CE zero - CE clean); None where zeroing the residual does not raise the loss."""
    ce_clean: float
    ce_spliced: float
    ce_zero: float


def splice_losses(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    site: str = "resid_post",
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses with each SAE's reconstruction, or zero, in place of the residual at its layer.

    In the residual stream the layers below are run once per batch and shared by all SAEs and edits, and each edit
    runs the blocks above its layer only; at other sites each edit runs the whole model. Edited are all positions
    except the first of a sequence and special tokens, which carry massive activations that no SAE here is trained on,
    and (where ``median_norm`` is given) tokens whose norm exceeds ``max_norm_multiple`` times the layer's median.

    Args:
        saes: name -> (layer, SAE).
        sequences: held-out sequences; losses come back in their order.
        median_norm: layer -> median norm of what the SAEs read.
        site: what the SAEs read and what is replaced, see ``ato.models.sites.SITES``.
        on_sequences: called with the number of sequences after each batch.
    """
    layers = sorted({layer for layer, _ in saes.values()})
    clean = np.zeros(len(sequences))
    spliced = {name: np.zeros(len(sequences)) for name in saes}
    zero = {layer: np.zeros(len(sequences)) for layer in layers}
    limits = {layer: max_norm_multiple * norm for layer, norm in (median_norm or {}).items()}
    by_length = np.argsort([len(s.token_ids) for s in sequences], kind="stable")  # little padding in a batch
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        input_ids, lengths = (x.to(model.device) for x in pad([sequences[row].token_ids for row in rows]))
        with torch.inference_mode():
            batch = _Batch(model, input_ids, lengths, layers, site)
            clean[rows] = batch.losses()
            for layer in layers:
                zero[layer][rows] = batch.losses(layer, partial(_zeroed, batch.editable, limits.get(layer)))
            for name, (layer, sae) in saes.items():
                splice = partial(_spliced, batch.editable, limits.get(layer), sae)
                spliced[name][rows] = batch.losses(layer, splice)
        if on_sequences is not None:
            on_sequences(len(rows))
    return SpliceLosses(
        sequence_id=np.array([s.sequence_id for s in sequences], dtype=np.int64),
        document=np.array([s.document for s in sequences], dtype=np.int64),
        n_predicted=np.array([len(s.token_ids) - 1 for s in sequences], dtype=np.int64),
        clean=clean,
        spliced=spliced,
        zero=zero,
        layer={name: layer for name, (layer, _) in saes.items()},
    )


class _Batch:
    """Sequences that are run again and again: edits of the residual stream share the blocks below them."""

    def __init__(
        self, model: LanguageModel, input_ids: torch.Tensor, lengths: torch.Tensor, layers: Sequence[int], site: str
    ):
        self._model, self._ids, self._lengths, self._site = model, input_ids, lengths, site
        self._residuals = model.residuals(input_ids, lengths, set(layers)) if site == "resid_post" else None
        position = torch.arange(input_ids.shape[1], device=input_ids.device)
        special = torch.tensor(sorted(model.special_token_ids), dtype=input_ids.dtype, device=input_ids.device)
        self.editable = (position > 0) & (position < lengths[:, None]) & ~torch.isin(input_ids, special)
        """[b, t], true for tokens that may be edited: neither the first of a sequence nor special nor padding."""

    def losses(self, layer: int | None = None, edit: Edit | None = None) -> np.ndarray:
        """[b] losses summed over the predicted tokens, with an edit at a layer or without any."""
        model, ids, lengths = self._model, self._ids, self._lengths
        if self._residuals is None:
            losses = model.token_losses(ids, lengths, edit, layer, site=self._site)
        else:
            start = max(self._residuals) if layer is None else layer
            residual = self._residuals[start]
            losses = model.losses_from(start, residual if edit is None else edit(residual), ids, lengths)
        return losses.double().sum(1).cpu().numpy()


def _zeroed(editable: torch.Tensor, limit: float | None, x: torch.Tensor) -> torch.Tensor:
    return x.masked_fill(_edited_tokens(editable, limit, x)[..., None], 0.0)


def _spliced(editable: torch.Tensor, limit: float | None, sae: SparseAutoencoder, x: torch.Tensor) -> torch.Tensor:
    edited, chosen = x.clone(), _edited_tokens(editable, limit, x)
    edited[chosen] = sae.reconstruct(x[chosen]).to(x.dtype)
    return edited


def _edited_tokens(editable: torch.Tensor, limit: float | None, x: torch.Tensor) -> torch.Tensor:
    """[b, t], true for editable tokens whose residual in x [b, t, d] is no longer than the limit."""
    return editable if limit is None else editable & (x.float().norm(dim=-1) <= limit)


@dataclass(frozen=True)
class _SpliceSums:
    """Losses of one SAE, summed per document."""

    n: np.ndarray
    """Predicted tokens."""
    clean: np.ndarray
    spliced: np.ndarray
    zero: np.ndarray


def ce_recovered(losses: SpliceLosses, name: str) -> CERecovered:
    """What one SAE recovers, CE being the mean over predicted tokens.

    Where zeroing the residual does not raise the loss there is nothing to recover.

    Args:
        name: the SAE, as it was named to ``splice_losses``.
    """
    own = _SpliceSums(
        losses.n_predicted.astype(np.float64), losses.clean, losses.spliced[name], losses.zero[losses.layer[name]]
    )
    segments, sums = Segments.of(losses.document), DocumentSums[_SpliceSums]()
    sums.add(
        segments.documents,
        map_arrays(lambda of_sequences: segments.sums(segments.arrange(torch.from_numpy(of_sequences))), own),
    )
    n = losses.n_predicted.sum()
    by_document = sums.sums()
    return CERecovered(
        ce_recovered=document_interval(by_document, _recovered, by_document.n).item(),
        ce_clean=float(own.clean.sum() / n),
        ce_spliced=float(own.spliced.sum() / n),
        ce_zero=float(own.zero.sum() / n),
    )


def _recovered(sums: _SpliceSums) -> np.ndarray:
    increase = sums.zero - sums.clean
    return (sums.zero - sums.spliced) / np.where(increase > 0, increase, np.nan)
