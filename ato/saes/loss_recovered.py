"""How much of the model's loss an SAE keeps: of what zeroing the residual costs, the share that its reconstruction avoids."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.scales import RATIO, UNEXPLAINED
from ato.numerics.sums import map_arrays
from ato.saes.edited_losses import SpliceLosses

_UNKNOWN = Estimate(None)


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
