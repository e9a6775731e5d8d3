"""Next-token losses of a running model under edits, all of them in the same batches, beside the unedited one's."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ato.models.forward import Edit
from ato.models.language_model import LanguageModel, pad
from ato.models.losses import losses_and_kl_of

if TYPE_CHECKING:
    from ato.text.sequences import TokenSequence

_HIDDEN_NUMBERS = 1 << 26
"""Hidden states of edits that may be held at once (256 MB in float32)."""


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
