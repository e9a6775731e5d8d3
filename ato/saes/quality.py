"""How good an SAE is on held-out text: variance unexplained, sparsity, dead features, trust."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import MismatchError
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.scales import RATIO
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder

DOCUMENT_GROUPS = 256
"""Rows of the per-document sums at most: documents share a row when their numbers are equal modulo this."""
CONSTANT = 1e-12
"""A variance below this share of the mean square is rounding: nothing varies."""


@dataclass(frozen=True)
class Reconstruction:
    """How well an SAE reconstructs the residuals it was judged on; None or NaN without a token."""

    n_tokens: int
    n_documents: int
    fvu: Estimate
    """sum |x - x_hat|^2 / sum |x - mean x|^2."""
    l0: float
    """Mean number of active features per token."""
    dead_share: float
    """Share of features that fired on none of the tokens."""


@dataclass(frozen=True)
class _VarianceSums:
    """Sums per document that the fraction of variance unexplained is made from."""

    n: np.ndarray
    """Tokens."""
    errors: np.ndarray
    """Squared errors, over all dimensions."""
    squares: np.ndarray
    """Squares of x - centre, over all dimensions."""
    centred: np.ndarray
    """[documents, d] x - centre."""


@dataclass(frozen=True)
class BlockRows:
    """What one block holds for an SAE, transcoder or innovation SAE."""

    read: torch.Tensor
    """[n, d_in], what is encoded."""
    written: torch.Tensor
    """[n, d], what is to be rebuilt."""
    predicted: torch.Tensor | None = None
    """[n, d], the part of it that an operator predicts, where there is one."""


class SAEQuality:
    """Accumulates the reconstruction quality of one SAE.

    Sums are kept per document, since the variance without a document is about the mean of the others.

    Args:
        sae: the SAE.
        layer: layer whose residuals it reads.
    """

    def __init__(self, sae: SparseAutoencoder, layer: int):
        self._sae, self._layer = sae, layer
        self._sums: DocumentSums[_VarianceSums] = DocumentSums()
        self._documents: set[int] = set()
        self._n_active = 0
        self._fired = np.zeros(sae.d_sae, dtype=bool)

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "SAEQuality":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        rows = self.rows(block)
        active = self._sae.active(rows.read) if active is None else active
        return self.add(block.document, active, rows.written, self.decoded(active, rows))

    def add(
        self, document: np.ndarray, active: ActiveFeatures, written: torch.Tensor, decoded: torch.Tensor
    ) -> "SAEQuality":
        """Take tokens of documents [n] into account, what is to be rebuilt of them [n, d] and what is rebuilt [n, d]."""
        self._documents.update(np.unique(document).tolist())
        self._n_active += len(active.feature)
        self._fired[active.feature.unique().cpu().numpy()] = True
        y = written.to(self._sae.W_dec)
        errors = (y - decoded).double().square().sum(1)
        # About a point near the mean squares do not cancel when the mean is subtracted in the end.
        centred = (y - self.centre).double()
        segments = Segments.of(document % DOCUMENT_GROUPS)
        ones = torch.ones(len(y), dtype=torch.float64, device=y.device)
        rows = (ones, errors, centred.square().sum(1), centred)
        self._sums.add(segments.documents, _VarianceSums(*(segments.sums(segments.arrange(part)) for part in rows)))
        return self

    @property
    def centre(self) -> torch.Tensor:
        """[d] a point near the mean of what is rebuilt."""
        return self._sae.b_dec

    def rows(self, block: ResidualBlock) -> BlockRows:
        """What is encoded of a block and what is to be rebuilt: the same."""
        rows = block.residuals[self._layer]
        return BlockRows(rows, rows)

    def decoded(self, active: ActiveFeatures, rows: BlockRows) -> torch.Tensor:
        """What is rebuilt [n, d] from the active features of a block's rows."""
        return self._sae.decode_active(active)

    def __add__(self, other: "SAEQuality") -> "SAEQuality":
        """Quality over both streams.

        Raises:
            MismatchError: they are of different SAEs or layers.
        """
        if (self._sae.weights_hash, self._layer) != (other._sae.weights_hash, other._layer):
            raise MismatchError("quality measures of different SAEs cannot be added", cure="add those of one SAE")
        total = type(self)(self._sae, self._layer)
        total._sums = self._sums + other._sums
        total._documents = self._documents | other._documents
        total._n_active = self._n_active + other._n_active
        total._fired = self._fired | other._fired
        return total

    def result(self) -> Reconstruction:
        """The quality over all tokens seen, with the interval by document."""
        if not len(self._sums):
            return Reconstruction(0, 0, Estimate(None), l0=float("nan"), dead_share=1.0)
        sums = self._sums.sums()
        n = int(sums.n.sum())
        return Reconstruction(
            n_tokens=n,
            n_documents=len(self._documents),
            fvu=document_interval(sums, _fvu, sums.n, RATIO).item(),
            l0=self._n_active / n,
            dead_share=float(1 - self._fired.mean()),
        )


def _fvu(sums: _VarianceSums) -> np.ndarray:
    """Fraction of variance unexplained [b] from sums [b, ...]; NaN where the residuals do not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sums.squares - np.square(sums.centred).sum(-1) / sums.n
        fvu: np.ndarray = sums.errors / np.where(variance > CONSTANT * sums.squares, variance, np.nan)
    return fvu


L0_FACTOR = 2.0
"""How far L0 may be from the declared one: text and context differ from those of the training, by less than this."""


def l0_warning(measured: float, declared: float | None) -> str | None:
    """One line where L0 is more than ``L0_FACTOR`` times the declared one or less than its fraction; None otherwise.

    Args:
        measured: mean number of active features per token on held-out text.
        declared: what the SAE's origin states; None if it states nothing.
    """
    if not declared or declared / L0_FACTOR <= measured <= declared * L0_FACTOR or np.isnan(measured):
        return None
    return (
        f"L0 is {measured:.3g} where {declared:.3g} is declared: "
        "the SAE may be of another model, layer, site or kind, or the text unlike that of its training"
    )


@dataclass(frozen=True)
class QualityLimits:
    """What an SAE must reach for its features' scores to be trusted; None leaves a limit out."""

    max_fvu: float | None = 0.5
    min_ce_recovered: float | None = 0.7
    max_dead_share: float | None = 0.5

    def judge(self, *, fvu: float, dead_share: float, ce_recovered: float | None = None) -> tuple[bool, str | None]:
        """Whether every limit is kept, and if not which are missed, as one clause for the table ``saes``.

        A value that is not a number misses its limit; a ``ce_recovered`` of None was not measured and misses none.
        """
        missed = []
        if self.max_fvu is not None and not fvu <= self.max_fvu:
            missed.append(f"fvu {fvu:.3g} > {self.max_fvu:g}")
        if self.min_ce_recovered is not None and ce_recovered is not None and not ce_recovered >= self.min_ce_recovered:
            missed.append(f"ce_recovered {ce_recovered:.3g} < {self.min_ce_recovered:g}")
        if self.max_dead_share is not None and not dead_share <= self.max_dead_share:
            missed.append(f"dead_share {dead_share:.3g} > {self.max_dead_share:g}")
        return not missed, "; ".join(missed) or None
