"""How much of the model's loss an SAE keeps when its reconstruction is put back into the running model."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel, pad
from ato.models.losses import losses_and_kl_of
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.scales import RATIO, UNEXPLAINED
from ato.numerics.sums import map_arrays
from ato.saes.autoencoder import SparseAutoencoder

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

_HIDDEN_NUMBERS = 1 << 26
"""Hidden states of edits that may be held at once (256 MB in float32)."""
_UNKNOWN = Estimate(None)


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
    kl: dict[str, np.ndarray] = field(default_factory=dict)
    """SAE -> [n] sums of KL(clean || spliced) of the next-token distributions, where it was asked for."""
    kl_zero: dict[int, np.ndarray] = field(default_factory=dict)
    """Layer -> [n] sums of KL(clean || zero), likewise."""


Spliced = tuple[str | None, int]
"""An SAE or a chain by name, None for zero; and the layer that it is told of."""
Hidden = Callable[["SpliceBatch"], torch.Tensor]
"""Hidden states [b, t, d] behind the final norm of a batch under an edit."""


@dataclass(frozen=True)
class CERecovered:
    """Share of the zero-ablation loss increase that splicing an SAE avoids, with mean losses in nats per token."""

    ce_recovered: Estimate
    """(CE zero - CE spliced) / (CE zero - CE clean); None where zeroing the residual does not raise the loss."""
    ce_clean: float
    ce_spliced: float
    ce_zero: float
    n_tokens: int = 0
    """Predicted tokens."""
    n_documents: int = 0
    kl: Estimate = _UNKNOWN
    """Mean of KL(clean || spliced) a predicted token, in nats; None where it was not asked for."""
    kl_recovered: Estimate = _UNKNOWN
    """1 - KL(clean || spliced) / KL(clean || zero); None where zeroing changes nothing."""


def splice_losses(
    model: LanguageModel,
    saes: Mapping[str, tuple[int, SparseAutoencoder]],
    sequences: Sequence["TokenSequence"],
    *,
    batch_size: int = 8,
    median_norm: Mapping[int, float] | None = None,
    max_norm_multiple: float = 10.0,
    site: str = "resid_post",
    kl: bool = False,
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
        kl: also take the KL divergence from the unedited model, whose distributions are made once for all SAEs, a few
            hundred tokens at a time.
        on_sequences: called with the number of sequences after each batch.
    """
    layers = sorted({layer for layer, _ in saes.values()})
    limits = norm_limits(median_norm, max_norm_multiple)

    def edited(layer: int, sae: SparseAutoencoder | None) -> Hidden:
        return lambda batch: batch.hidden(layer, batch.edit(layer, sae, limits))

    zero: dict[Spliced, Hidden] = {(None, layer): edited(layer, None) for layer in layers}
    return edited_losses(
        model,
        sequences,
        zero | {(name, layer): edited(layer, sae) for name, (layer, sae) in saes.items()},
        layers=layers,
        site=site,
        batch_size=batch_size,
        kl=kl,
        on_sequences=on_sequences,
    )


def norm_limits(median_norm: Mapping[int, float] | None, multiple: float) -> dict[int, float]:
    """Layer -> norm beyond which a token is left as it is; none without medians."""
    return {layer: multiple * norm for layer, norm in (median_norm or {}).items()}


def edited_losses(
    model: LanguageModel,
    sequences: Sequence["TokenSequence"],
    edits: Mapping[Spliced, Hidden],
    *,
    layers: Sequence[int],
    site: str,
    batch_size: int = 8,
    kl: bool = True,
    on_sequences: Callable[[int], object] | None = None,
) -> SpliceLosses:
    """Losses of a model under edits, all of them in the same batches, beside the unedited one's.

    However many edits there are, the hidden states of a few of them are held at once: 256 MB in float32, or those of one.

    Args:
        model: the model.
        sequences: held-out sequences; sums come back in their order.
        edits: (name, or None for zero; the layer that it is told of) -> what makes the hidden states of a batch.
        layers: whose residuals edits start from, in the residual stream.
        site: what is edited.
        batch_size: sequences in one pass.
        kl: also take the KL divergence from the unedited model, whose distributions are made once for the edits held.
        on_sequences: called with the number of sequences after each batch.
    """
    clean = np.zeros(len(sequences))
    found = {key: np.zeros((2, len(sequences))) for key in edits}
    by_length = np.argsort([len(s.token_ids) for s in sequences], kind="stable")  # little padding in a batch
    for start in range(0, len(by_length), batch_size):
        rows = by_length[start : start + batch_size]
        input_ids, lengths = (x.to(model.device) for x in pad([sequences[row].token_ids for row in rows]))
        with torch.inference_mode():
            batch = SpliceBatch(model, input_ids, lengths, layers, site)
            plain = batch.hidden()
            clean[rows] = batch.losses(plain)
            at_once = max(1, _HIDDEN_NUMBERS // plain.numel()) if kl else 1
            for first in range(0, len(edits), at_once):
                keys = list(edits)[first : first + at_once]
                hidden = [edits[key](batch) for key in keys]
                for key, sums in zip(keys, batch.sums(plain, hidden, kl=kl), strict=True):
                    found[key][:, rows] = sums
        if on_sequences is not None:
            on_sequences(len(rows))
    return SpliceLosses(
        sequence_id=np.array([s.sequence_id for s in sequences], dtype=np.int64),
        document=np.array([s.document for s in sequences], dtype=np.int64),
        n_predicted=np.array([len(s.token_ids) - 1 for s in sequences], dtype=np.int64),
        clean=clean,
        spliced={name: of[0] for (name, _), of in found.items() if name is not None},
        zero={layer: of[0] for (name, layer), of in found.items() if name is None},
        layer={name: layer for name, layer in found if name is not None},
        kl={name: of[1] for (name, _), of in found.items() if kl and name is not None},
        kl_zero={layer: of[1] for (name, layer), of in found.items() if kl and name is None},
    )


class SpliceBatch:
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

    def edit(self, layer: int, sae: SparseAutoencoder | None, limits: Mapping[int, float]) -> Edit:
        """What puts the SAE's reconstruction, or zero without an SAE, in place of the residual."""
        if sae is None:
            return partial(_zeroed, self.editable, limits.get(layer))
        return partial(_spliced, self.editable, limits.get(layer), sae)

    def hidden(self, layer: int | None = None, edit: Edit | None = None) -> torch.Tensor:
        """[b, t, d] hidden states behind the final norm, with an edit at a layer or without any."""
        if self._residuals is None:
            return self.run({} if layer is None or edit is None else {layer: edit})
        start = max(self._residuals) if layer is None else layer
        residual = self._residuals[start]
        changed = residual if edit is None else edit(residual)
        return self._model.hidden_from(start, changed, self._ids, self._lengths)

    def run(self, edits: Mapping[int, Edit], **options: Any) -> torch.Tensor:
        """[b, t, d] hidden states behind the final norm of the whole model with edits, and any options of ``run_blocks``."""
        return self._model.run_padded(self._ids, self._lengths, edits=edits, site=self._site, **options).hidden

    @property
    def residuals(self) -> Mapping[int, torch.Tensor]:
        """Layer -> [b, t, d] of the layers whose blocks are shared; none at other sites."""
        return self._residuals or {}

    def hidden_with(self, edits: Mapping[int, Edit], first: int) -> torch.Tensor:
        """[b, t, d] hidden states behind the final norm with several edits, none of them below layer ``first``."""
        if self._residuals is None:
            return self.run(edits)
        start = edits[first](self._residuals[first])
        return self.run({layer: edit for layer, edit in edits.items() if layer > first}, start=(first, start))

    def losses(self, hidden: torch.Tensor) -> np.ndarray:
        """[b] losses summed over the predicted tokens."""
        return self._model.losses(hidden, self._ids, self._lengths).double().sum(1).cpu().numpy()

    def sums(self, plain: torch.Tensor, changed: Sequence[torch.Tensor], *, kl: bool) -> list[np.ndarray]:
        """For each of some hidden states, [2, b]: losses and KL(plain || changed), summed; zeros for a KL not asked for."""
        if not kl:
            return [np.stack([losses := self.losses(hidden), np.zeros_like(losses)]) for hidden in changed]
        real = torch.arange(1, plain.shape[1], device=plain.device) < self._lengths[:, None]  # [b, t-1]
        row = real.nonzero()[:, 0]
        labels, own = self._ids[:, 1:][real], [hidden[:, :-1][real] for hidden in (plain, *changed)]
        values = torch.stack(losses_and_kl_of(self._model.logits, own[0], own[1:], labels), dim=1).double()
        summed = torch.zeros(*values.shape[:2], len(plain), dtype=torch.float64, device=plain.device)
        summed.index_add_(2, row, values)[:, 1].clamp_min_(0)  # a KL below 0 is rounding
        return list(summed.cpu().numpy())


def _zeroed(editable: torch.Tensor, limit: float | None, x: torch.Tensor) -> torch.Tensor:
    return x.masked_fill(edited_tokens(editable, limit, x)[..., None], 0.0)


def _spliced(editable: torch.Tensor, limit: float | None, sae: SparseAutoencoder, x: torch.Tensor) -> torch.Tensor:
    edited, chosen = x.clone(), edited_tokens(editable, limit, x)
    edited[chosen] = sae.reconstruct(x[chosen]).to(x.dtype)
    return edited


def edited_tokens(editable: torch.Tensor, limit: float | None, x: torch.Tensor) -> torch.Tensor:
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
    kl: np.ndarray | None
    kl_zero: np.ndarray | None


def ce_recovered(losses: SpliceLosses, name: str) -> CERecovered:
    """What one SAE recovers, CE and KL being means over predicted tokens.

    Where zeroing the residual does not raise the loss there is nothing to recover.

    Args:
        name: the SAE, as it was named to ``splice_losses``.
    """
    layer = losses.layer[name]
    own = _SpliceSums(
        losses.n_predicted.astype(np.float64),
        losses.clean,
        losses.spliced[name],
        losses.zero[layer],
        losses.kl.get(name),
        losses.kl_zero.get(layer),
    )
    segments, sums = Segments.of(losses.document), DocumentSums[_SpliceSums]()
    sums.add(
        segments.documents,
        map_arrays(lambda of_sequences: segments.sums(segments.arrange(torch.from_numpy(of_sequences))), own),
    )
    n = losses.n_predicted.sum()
    by_document = sums.sums()
    kl = kl_recovered = _UNKNOWN
    if by_document.kl is not None:
        kl = document_interval(by_document, _kl, by_document.n, RATIO).item()
        kl_recovered = document_interval(by_document, _kl_recovered, by_document.n, UNEXPLAINED).item()
    return CERecovered(
        ce_recovered=document_interval(by_document, _recovered, by_document.n).item(),
        ce_clean=float(own.clean.sum() / n),
        ce_spliced=float(own.spliced.sum() / n),
        ce_zero=float(own.zero.sum() / n),
        n_tokens=int(n),
        n_documents=len(by_document.n),
        kl=kl,
        kl_recovered=kl_recovered,
    )


def _recovered(sums: _SpliceSums) -> np.ndarray:
    increase = sums.zero - sums.clean
    return (sums.zero - sums.spliced) / np.where(increase > 0, increase, np.nan)


def _kl(sums: _SpliceSums) -> np.ndarray:
    assert sums.kl is not None  # asked for only where there is one
    return sums.kl / sums.n


def _kl_recovered(sums: _SpliceSums) -> np.ndarray:
    assert sums.kl is not None
    assert sums.kl_zero is not None
    return 1 - sums.kl / np.where(sums.kl_zero > 0, sums.kl_zero, np.nan)
