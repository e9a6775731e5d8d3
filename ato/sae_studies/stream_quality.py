"""The quality of one SAE, transcoder or innovation SAE on a stream of held-out tokens, every number with its interval by document."""

from dataclasses import dataclass

import numpy as np
import torch

from ato.errors import MismatchError
from ato.numerics.document_sums import DocumentSums, Segments
from ato.numerics.intervals import Estimate, document_interval
from ato.numerics.scales import RATIO
from ato.residuals.blocks import ResidualBlock
from ato.sae_studies.densities import HIGH_FREQUENCY, DensityHistogram, FeatureCounts
from ato.sae_studies.innovation import InnovationSAE
from ato.sae_studies.innovation_quality import InnovationQuality
from ato.sae_studies.metrics import Metric
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder
from ato.saes.quality import CONSTANT, DOCUMENT_GROUPS, SAEQuality
from ato.saes.transcoder import Transcoder
from ato.saes.transcoder_quality import TranscoderQuality

_NO_TOKEN = "no token was judged"


@dataclass(frozen=True)
class StreamedQuality:
    """How well an SAE does on the tokens it was judged on; values are None without a token.

    Of a transcoder, x and x_hat are what is written and what it writes instead; of an innovation SAE they are y and T x + b
    plus what it decodes.
    """

    n_tokens: int
    n_documents: int
    d_sae: int
    fvu: Estimate
    """sum |x - x_hat|^2 / sum |x - mean x|^2; None where the residuals do not vary."""
    l0: Estimate
    """Mean number of active features per token."""
    dead_share: Estimate
    """Share of the features that fire on none of the tokens."""
    high_frequency_share: Estimate
    """Share of the features that fire on more than ``high_frequency`` of the tokens."""
    shrinkage: Estimate
    """sum (x - mean x)(x_hat - mean x_hat) / sum |x_hat - mean x_hat|^2 over tokens and dimensions: the least-squares
    slope of x on x_hat with an intercept in each dimension. 1 is none, above 1 reconstructions are too small; None
    where the reconstruction does not vary."""
    densities: DensityHistogram
    high_frequency: float

    @property
    def explained_variance(self) -> Estimate:
        """1 - FVU."""
        fvu = self.fvu
        return Estimate(*(None if end is None else 1 - end for end in (fvu.value, fvu.high, fvu.low)))

    def metrics(self) -> list[Metric]:
        """As rows of the comparison."""
        constant = "the residuals do not vary" if self.n_tokens else _NO_TOKEN
        still = "the reconstruction is the same on every token" if self.n_tokens else _NO_TOKEN
        share = f"rate above {self.high_frequency:g}"
        rows = [
            ("fvu", self.fvu, self.n_tokens, "", constant),
            ("explained_variance", self.explained_variance, self.n_tokens, "", constant),
            ("l0", self.l0, self.n_tokens, "", _NO_TOKEN),
            ("dead_share", self.dead_share, self.d_sae, "", _NO_TOKEN),
            ("high_frequency_share", self.high_frequency_share, self.d_sae, share, _NO_TOKEN),
            ("shrinkage", self.shrinkage, self.n_tokens, "", still),
        ]
        return [
            Metric(name, estimate, n, self.n_documents, detail, reason if estimate.value is None else None)
            for name, estimate, n, detail, reason in rows
        ]


@dataclass(frozen=True)
class _SlopeSums:
    """Sums per document that the slope of x on x_hat is made from, both less a point near their means, so that squares do not cancel."""

    n: np.ndarray
    """Tokens."""
    x: np.ndarray
    """[documents, d]."""
    x_hat: np.ndarray
    """[documents, d]."""
    cross: np.ndarray
    """x . x_hat."""
    squares: np.ndarray
    """|x_hat|^2."""


class StreamQuality:
    """Accumulates ``StreamedQuality`` of one SAE, transcoder or innovation SAE, an ``ato.saes.SAEConsumer``; streams add up.

    Memory is ``DOCUMENT_GROUPS`` x (d_sae int32 + 3 d float64), whatever the number of tokens.

    Args:
        sae: the SAE; or a transcoder, which blocks of pairs are for (see ``ato.residuals.site_pairs``); or an innovation SAE,
            which blocks of ``Innovations`` with the source layer's residuals are for.
        layer: layer whose residuals it reads.
        high_frequency: share of the tokens above which a feature fires often.
    """

    def __init__(
        self, sae: SparseAutoencoder | Transcoder | InnovationSAE, layer: int, high_frequency: float = HIGH_FREQUENCY
    ):
        self._sae, self._layer, self._high_frequency = sae, layer, high_frequency
        self._quality = _quality_of(sae, layer)
        self._counts = FeatureCounts(sae.d_sae)
        self._slope: DocumentSums[_SlopeSums] = DocumentSums()

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "StreamQuality":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        block_rows = self._quality.rows(block)
        written = block_rows.written
        active = self._sae.active(block_rows.read) if active is None else active
        decoded = self._quality.decoded(active, block_rows)
        self._quality.add(block.document, active, written, decoded)
        self._counts.update(block.document, active)
        x, x_hat = ((of.to(self._sae.W_dec) - self._quality.centre).double() for of in (written, decoded))
        segments = Segments.of(block.document % DOCUMENT_GROUPS)
        ones = torch.ones(len(x), dtype=torch.float64, device=x.device)
        rows = (ones, x, x_hat, torch.linalg.vecdot(x, x_hat), x_hat.square().sum(1))
        self._slope.add(segments.documents, _SlopeSums(*(segments.sums(segments.arrange(part)) for part in rows)))
        return self

    def __add__(self, other: "StreamQuality") -> "StreamQuality":
        """Quality over both streams.

        Raises:
            MismatchError: they are of different SAEs, layers or limits.
        """
        if self._high_frequency != other._high_frequency:
            raise MismatchError("quality with different limits cannot be added", cure="use one high_frequency")
        total = StreamQuality(self._sae, self._layer, self._high_frequency)
        total._quality = self._quality + other._quality
        total._counts = self._counts + other._counts
        total._slope = self._slope + other._slope
        return total

    def alive(self) -> np.ndarray:
        """[d_sae] bool, features that fired on some token."""
        return self._counts.n_active() > 0

    def n_active(self) -> np.ndarray:
        """[d_sae] int64, tokens on which each feature is active."""
        return self._counts.n_active()

    def rates(self) -> np.ndarray:
        """[d_sae] share of the tokens on which each feature is active; NaN without a token."""
        return self._counts.rates()

    def result(self) -> StreamedQuality:
        """The quality over all tokens seen."""
        rebuilt, nothing = self._quality.result(), Estimate(None)
        l0 = shrinkage = nothing
        if rebuilt.n_tokens:
            sums = self._slope.sums()
            shrinkage = document_interval(sums, _slope, sums.n).item()
            counts = np.stack(self._counts.tokens_and_active(), axis=1)
            l0 = document_interval(counts, lambda both: both[:, 1] / both[:, 0], counts[:, 0], RATIO).item()
        return StreamedQuality(
            n_tokens=rebuilt.n_tokens,
            n_documents=rebuilt.n_documents,
            d_sae=self._sae.d_sae,
            fvu=rebuilt.fvu,
            l0=l0,
            dead_share=self._counts.dead_share(),
            high_frequency_share=self._counts.high_frequency_share(self._high_frequency),
            shrinkage=shrinkage,
            densities=self._counts.histogram(),
            high_frequency=self._high_frequency,
        )


def _quality_of(sae: SparseAutoencoder | Transcoder | InnovationSAE, layer: int) -> SAEQuality:
    if isinstance(sae, InnovationSAE):
        return InnovationQuality(sae, layer)
    return TranscoderQuality(sae, layer) if isinstance(sae, Transcoder) else SAEQuality(sae, layer)


def _slope(sums: _SlopeSums) -> np.ndarray:
    """Least-squares slope [b] of x on x_hat from sums [b, ...]; NaN where x_hat does not vary."""
    with np.errstate(divide="ignore", invalid="ignore"):
        variance = sums.squares - np.square(sums.x_hat).sum(-1) / sums.n
        covariance = sums.cross - (sums.x * sums.x_hat).sum(-1) / sums.n
        slope: np.ndarray = covariance / np.where(variance > CONSTANT * sums.squares, variance, np.nan)
    return slope
