"""Innovation SAEs against plain ones: error, loss recovered and redundancy between layers, paired on the same documents.

Differences are innovation minus plain. Their intervals leave out one document at a time from both at once, so that what
makes a document hard for both cancels; cosines of decoder rows are of features, and have Welch's interval.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import torch

from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import LEVEL, Estimate, document_interval
from ato.numerics.scales import PLAIN, RATIO, Scale
from ato.residuals.blocks import ResidualBlock
from ato.sae_studies.chain_splicing import Coder
from ato.sae_studies.dictionaries import largest_cosines
from ato.sae_studies.innovation import InnovationSAE
from ato.saes.edited_losses import SpliceLosses
from ato.saes.quality import CONSTANT, DOCUMENT_GROUPS

Sums = TypeVar("Sums", "_ErrorSums", "_LossSums")
_NULL_STREAM = 1904
"""Seed of random directions."""


@dataclass(frozen=True)
class Compared:
    """One metric of an innovation SAE, or a chain of them, beside plain ones."""

    innovation: Estimate
    plain: Estimate
    difference: Estimate
    """Innovation minus plain."""
    baseline: Estimate
    """Of T x + b without features; of cosines that with as many random directions in place of the lower layer's."""
    n: int
    """Units that intervals leave out: documents; of cosines the innovation SAE's living features."""


@dataclass(frozen=True)
class _ErrorSums:
    """Sums per document of y at one layer."""

    n: np.ndarray
    """Tokens."""
    squares: np.ndarray
    """|y - centre|^2."""
    centred: np.ndarray
    """[documents, d] y - centre."""
    errors: np.ndarray
    """[documents, m] squared errors of each coder."""
    active: np.ndarray
    """[documents, m] active features of each coder."""


class PairedErrors:
    """FVU of y and L0 of several coders at one layer, on the same tokens: a consumer of blocks with all their layers.

    Memory is ``DOCUMENT_GROUPS`` x (d + 2 m) float64 for m coders.

    Args:
        coders: name -> SAE of y, or innovation SAE whose source layer is in the blocks.
        layer: of y.
    """

    def __init__(self, coders: Mapping[str, Coder], layer: int):
        self._coders, self._layer = dict(coders), layer
        self._sums: DocumentSums[_ErrorSums] = DocumentSums()
        self._documents: set[int] = set()
        self._centre: torch.Tensor | None = None

    def update(self, block: ResidualBlock) -> "PairedErrors":
        """Take a block of raw residuals into account."""
        y = block.residuals[self._layer].float()
        if self._centre is None:  # near the mean, so that squares do not cancel
            self._centre = y.mean(0)
        errors, active = [], []
        for coder in self._coders.values():
            offset = torch.zeros_like(y)
            if isinstance(coder, InnovationSAE):
                offset = coder.predicted(block.residuals[coder.layers[0]].float()).to(y.device)
            sae = coder.sae if isinstance(coder, InnovationSAE) else coder
            found = sae.active((y - offset).to(sae.W_dec))
            rebuilt = sae.decode_active(found).to(y) + offset
            errors.append((y - rebuilt).double().square().sum(1))
            active.append(torch.bincount(found.token, minlength=len(y)).to(y.device).double())
        centred = (y - self._centre).double()
        segments = Segments.of(block.document % DOCUMENT_GROUPS)
        ones = torch.ones(len(y), dtype=torch.float64, device=y.device)
        rows = (ones, centred.square().sum(1), centred, torch.stack(errors, 1), torch.stack(active, 1))
        self._sums.add(segments.documents, _ErrorSums(*(segments.sums(segments.arrange(part)) for part in rows)))
        self._documents.update(np.unique(block.document).tolist())
        return self

    def l0(self, name: str) -> float:
        """Mean number of active features per token."""
        sums, at = self._sums.sums(), self._at(name)
        return float(sums.active[:, at].sum() / sums.n.sum())

    def fvu(self, innovation: str, plain: str, baseline: str) -> Compared:
        """``sum |y - y_hat|^2 / sum |y - mean y|^2`` of each, and the difference.

        Raises:
            DataError: no token was seen.
        """
        at = [self._at(name) for name in (innovation, plain, baseline)]
        return _compared(self._sums.sums(), lambda sums: _fvus(sums)[:, at], RATIO, len(self._documents))

    def _at(self, name: str) -> int:
        return list(self._coders).index(name)


def _fvus(sums: _ErrorSums) -> np.ndarray:
    """[b, m] from sums [b, ...]; NaN where y does not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sums.squares - np.square(sums.centred).sum(-1) / sums.n
        varies = variance > CONSTANT * sums.squares
        fvus: np.ndarray = sums.errors / np.where(varies, variance, np.nan)[:, None]
    return fvus


@dataclass(frozen=True)
class _LossSums:
    """Per document, [documents] or [documents, 3] of innovation, plain and baseline."""

    n: np.ndarray
    clean: np.ndarray
    zero: np.ndarray
    spliced: np.ndarray
    kl: np.ndarray


def compared_losses(losses: SpliceLosses, innovation: str, plain: str, baseline: str) -> dict[str, Compared]:
    """``ce_recovered`` and ``kl`` of replaced layers, see ``ato.saes.loss_recovered.ce_recovered``, and their differences.

    Args:
        losses: with KL, of names that replace the same layers.
        innovation: name of the innovation SAEs among them.
        plain: name of the plain ones.
        baseline: name of T x + b alone.
    """
    names = [innovation, plain, baseline]
    rows = _LossSums(
        losses.n_predicted.astype(np.float64),
        losses.clean,
        losses.zero[losses.layer[innovation]],
        np.stack([losses.spliced[name] for name in names], 1),
        np.stack([losses.kl[name] for name in names], 1),
    )
    segments, summed = Segments.of(losses.document), DocumentSums[_LossSums]()
    parts = (segments.sums(segments.arrange(torch.from_numpy(part))) for part in vars(rows).values())
    summed.add(segments.documents, _LossSums(*parts))
    sums = summed.sums()

    return {
        "ce_recovered": _compared(sums, _recovered, PLAIN, len(sums.n)),
        "kl": _compared(sums, lambda part: part.kl / part.n[:, None], RATIO, len(sums.n)),
    }


def _compared(sums: Sums, estimator: Callable[[Sums], np.ndarray], scale: Scale, n: int) -> Compared:
    """A metric of the innovation SAEs, the plain ones and the baseline, which the estimator gives as [b, 3]."""

    def of(pick: Callable[[np.ndarray], np.ndarray], on: Scale) -> Estimate:
        return document_interval(sums, lambda part: pick(estimator(part)), sums.n, on).item()

    return Compared(
        of(lambda found: found[:, 0], scale),
        of(lambda found: found[:, 1], scale),
        of(lambda found: found[:, 0] - found[:, 1], PLAIN),
        of(lambda found: found[:, 2], scale),
        n,
    )


def _recovered(sums: _LossSums) -> np.ndarray:
    """[b, 3]; NaN where zero does not raise the loss."""
    increase = sums.zero - sums.clean
    found: np.ndarray = (sums.zero[:, None] - sums.spliced) / np.where(increase > 0, increase, np.nan)[:, None]
    return found


def compared_redundancy(
    innovation: tuple[torch.Tensor, torch.Tensor], plain: tuple[torch.Tensor, torch.Tensor]
) -> Compared:
    """Mean over the upper layer's features of the largest decoder cosine with one of the layer below, ``layer_cosine``.

    Its baseline puts as many random directions in place of the innovation chain's lower layer.

    Args:
        innovation: decoder rows [m, d] of the living features of the lower and of the upper layer, of the innovation chain.
        plain: the same of the plain SAEs.
    """
    generator = torch.Generator().manual_seed(_NULL_STREAM)
    random = torch.randn(innovation[0].shape, generator=generator)
    (lower, upper), (plain_lower, plain_upper) = innovation, plain
    own, other, by_chance = (
        largest_cosines(*sides) for sides in ((upper, lower), (plain_upper, plain_lower), (upper, random))
    )
    return Compared(_mean(own), _mean(other), _welch(own, other), _mean(by_chance), len(own))


def _mean(values: np.ndarray) -> Estimate:
    from scipy.stats import t

    if len(values) < 2:
        return Estimate(float(values[0]) if len(values) else None)
    mean, reach = (
        float(values.mean()),
        t.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / len(values) ** 0.5,
    )
    return Estimate(mean, mean - float(reach), mean + float(reach))


def _welch(first: np.ndarray, second: np.ndarray) -> Estimate:
    """Difference of the means of independent values."""
    from scipy.stats import ttest_ind

    if not len(first) or not len(second):
        return Estimate(None)
    difference = float(first.mean() - second.mean())
    if min(len(first), len(second)) < 2 or np.ptp(first) == np.ptp(second) == 0:
        return Estimate(difference)
    low, high = ttest_ind(first, second, equal_var=False).confidence_interval(LEVEL)
    return Estimate(difference, float(low), float(high))
