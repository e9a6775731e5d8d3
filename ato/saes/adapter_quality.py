"""How near an adapted model is to the fine-tuned and to the base model, and how sparse its features are."""

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ato.models.language_model import LanguageModel, pad
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.saes.adapter import TranscoderAdapter, adapted, check_fit
from ato.text.sequences import TokenSequence

MODELS = ("adapted", "base MLPs", "permuted", "base", "fine-tuned")
"""What is compared: the adapted model; the fine-tuned one with the base's MLPs and no features, the baseline; the adapted
one with decoders permuted among features, the null; and the two models themselves."""


@dataclass(frozen=True)
class AdapterQuality:
    """Means over tokens of held-out documents, with intervals by document."""

    n_tokens: int
    n_documents: int
    kl: dict[str, Estimate]
    """One of ``MODELS`` -> KL(fine-tuned || it) of the next token, in nats."""
    agreement: dict[str, Estimate]
    """The same -> share of tokens after which it and the fine-tuned model find the same token likeliest."""
    kl_to_base: dict[str, Estimate]
    """KL(base || it)."""
    agreement_with_base: dict[str, Estimate]
    l0: dict[int, float]
    """Layer -> mean number of active features per token."""
    dead_share: float
    """Share of features, of all layers, that fired on no token."""


@torch.no_grad()
def judge_adapter(
    tuned: LanguageModel,
    base: LanguageModel,
    adapter: TranscoderAdapter,
    sequences: Sequence[TokenSequence],
    *,
    batch_size: int = 4,
) -> AdapterQuality:
    """Compare an adapted model with both of its origins on held-out text.

    Args:
        tuned: the fine-tuned model.
        base: the model that it was made from.
        adapter: its layers that are switched off count as without features.
        sequences: held-out sequences; padding counts nowhere.
        batch_size: sequences in one pass.

    Raises:
        MismatchError: models or an adapter of other shapes.
        DataError: no sequences.
    """
    check_fit(tuned.parts, adapter, base.parts)
    permuted, off = adapter.permuted(), adapter.without()
    sums: DocumentSums[np.ndarray] = DocumentSums()
    features = _FeatureCounts()
    for start in range(0, len(sequences), batch_size):
        batch = sequences[start : start + batch_size]
        ids, lengths = (part.to(tuned.device) for part in pad([s.token_ids for s in batch]))
        features.real = torch.arange(ids.shape[1], device=ids.device) < lengths[:, None]
        document = np.repeat([s.document for s in batch], lengths.cpu().numpy())

        def log_p(
            within: AbstractContextManager[None],
            model: LanguageModel = tuned,
            ids: Tensor = ids,
            real: Tensor = features.real,
        ) -> Tensor:
            with within:
                mask = None if bool(real.all()) else real.long()
                hidden = model.parts.body(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
                return model.parts.logits(hidden[real]).float().log_softmax(-1)

        of_tuned, of_base = log_p(nullcontext()), log_p(nullcontext(), base)
        columns = []
        for name in MODELS:
            if name in ("fine-tuned", "base"):
                own = of_tuned if name == "fine-tuned" else of_base
            else:
                used = {"adapted": adapter, "base MLPs": off, "permuted": permuted}[name]
                note = features.count if name == "adapted" else None
                own = log_p(adapted(tuned.parts, used, base.parts, on_features=note))
            columns += [number for truth in (of_tuned, of_base) for number in _compared(truth, own)]
        rows = torch.stack([torch.ones_like(columns[0]), *columns], dim=1)
        segments = Segments.of(document)
        sums.add(segments.documents, segments.sums(segments.arrange(rows)))
    table = sums.sums()
    n = table[:, 0]
    found = document_interval(table, lambda part: part[:, 1:] / part[:, :1], n)
    by_name = {name: [found[4 * i + j] for j in range(4)] for i, name in enumerate(MODELS)}
    kl, agreement, kl_to_base, agreement_with_base = (
        {name: estimates[j] for name, estimates in by_name.items()} for j in range(4)
    )
    l0, dead_share = features.result(adapter, int(n.sum()))
    return AdapterQuality(int(n.sum()), len(n), kl, agreement, kl_to_base, agreement_with_base, l0, dead_share)


def _compared(truth: Tensor, own: Tensor) -> tuple[Tensor, Tensor]:
    """KL(truth || own) [n] and agreement [n] float64 of log-probabilities [n, vocabulary]."""
    kl = (truth.exp() * (truth - own)).sum(-1).double().clamp_min(0)  # below 0 by rounding only
    return kl, (truth.argmax(-1) == own.argmax(-1)).double()


class _FeatureCounts:
    """Activations counted by layer."""

    def __init__(self) -> None:
        self.real = torch.zeros(0, dtype=torch.bool)
        self._n_active: dict[int, int] = {}
        self._fired: dict[int, Tensor] = {}

    def count(self, layer: int, features: Tensor) -> None:
        """Of the real tokens of a pass."""
        active = features[self.real] > 0
        self._n_active[layer] = self._n_active.get(layer, 0) + int(active.sum())
        fired = active.any(0)
        self._fired[layer] = self._fired[layer] | fired if layer in self._fired else fired

    def result(self, adapter: TranscoderAdapter, n_tokens: int) -> tuple[dict[int, float], float]:
        """L0 by layer and the share of features that never fired; layers that are switched off have none that did."""
        l0 = {layer: self._n_active.get(layer, 0) / n_tokens for layer in sorted(adapter.layers)}
        fired = sum(int(fired.sum()) for fired in self._fired.values())
        return l0, 1 - fired / (len(adapter.layers) * adapter.n_features)
