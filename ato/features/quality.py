"""How interpretable and unique every feature of an SAE is on a stream of tokens: the raw components of its score."""

from dataclasses import dataclass

import numpy as np

from ato.features.redundancy import CoActivations
from ato.features.stats import FeatureStats
from ato.features.token_samples import FeatureTokens, TokenSample
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures, SparseAutoencoder


@dataclass(frozen=True)
class QualityComponents:
    """Components per feature; NaN where a feature has none. ``n`` counts tokens, entropies are in nats."""

    n_tokens: int
    """Tokens looked at."""
    n_documents: int
    """Documents looked at."""
    n_active: np.ndarray
    """[d_sae] int64, tokens on which the feature is active."""
    n_documents_active: np.ndarray
    """[d_sae] int64."""
    mean_activation: np.ndarray
    """[d_sae] over active tokens; NaN for a silent feature."""
    max_activation: np.ndarray
    """[d_sae]; NaN for a silent feature."""
    n_top: np.ndarray
    """[d_sae] int64, top-activating positions that the token entropy is taken over."""
    token_entropy: np.ndarray
    """[d_sae] entropy of the token ids at these positions; at most log n_top; NaN for a silent feature."""
    redundancy: np.ndarray
    """[d_sae] largest |correlation| with another feature; NaN for a constant (also a silent) one."""
    redundant_with: np.ndarray
    """[d_sae] int64, that feature; -1 where there is none."""
    deadness: np.ndarray
    """[d_sae] share of the documents in which the feature is never active."""

    @property
    def activation_rate(self) -> np.ndarray:
        """[d_sae] share of the tokens on which the feature is active."""
        return self.n_active / max(self.n_tokens, 1)


class FeatureQuality:
    """Accumulates the components for one SAE.

    Memory is d_sae x top_positions numbers, half of d_sae^2 float64 for the correlations, and one bit a feature and
    document, whatever the number of tokens.

    Args:
        sae: the SAE; its own encoder, thresholds included, decides what is active.
        layer: layer whose residuals it reads.
        top_positions: positions a feature whose token ids give the token entropy.
    """

    def __init__(self, sae: SparseAutoencoder, layer: int, top_positions: int = 100):
        self._sae, self._layer = sae, layer
        self._stats = FeatureStats(sae, layer)
        self._top = TokenSample(sae.d_sae, top_positions)
        self._pairs = CoActivations(sae.d_sae)
        self._documents: set[int] = set()

    def update(self, block: ResidualBlock, active: ActiveFeatures | None = None) -> "FeatureQuality":
        """Take a block into account; ``active`` is its encoding if the caller has it already."""
        active = self._sae.active(block.residuals[self._layer]) if active is None else active
        self._stats.update(block, active)
        self._pairs.update(active)
        self._documents.update(np.unique(block.document).tolist())
        self._top.update(block, active)
        return self

    def __add__(self, other: "FeatureQuality") -> "FeatureQuality":
        """Components of both streams.

        Raises:
            MismatchError: they are of different SAEs or layers, or keep different numbers of positions.
        """
        total = FeatureQuality(self._sae, self._layer, self._top.size)
        total._stats = self._stats + other._stats
        total._top = self._top + other._top
        total._pairs = self._pairs + other._pairs
        total._documents = self._documents | other._documents
        return total

    def result(self) -> QualityComponents:
        """The components over all tokens seen."""
        stats, redundancy = self._stats.result(), self._pairs.result()
        n_top, entropy = _token_entropy(self._top.result(), self._sae.d_sae)
        n_documents = len(self._documents)
        return QualityComponents(
            n_tokens=self._stats.n_tokens,
            n_documents=n_documents,
            n_active=stats.n_active,
            n_documents_active=stats.n_documents_active,
            mean_activation=stats.mean_activation,
            max_activation=stats.max_activation,
            n_top=n_top,
            token_entropy=entropy,
            redundancy=redundancy.correlation,
            redundant_with=redundancy.feature,
            deadness=1 - stats.n_documents_active / max(n_documents, 1),
        )


def _token_entropy(top: FeatureTokens, d_sae: int) -> tuple[np.ndarray, np.ndarray]:
    """Number of top positions [d_sae] and entropy [d_sae] of their token ids: log n - (1/n) sum over ids c log c."""
    n = np.bincount(top.feature, minlength=d_sae)
    _, first, count = np.unique(
        (top.feature.astype(np.int64) << 32) + top.token_id, return_index=True, return_counts=True
    )
    weighted = np.bincount(top.feature[first], count * np.log(count), minlength=d_sae)
    with np.errstate(divide="ignore", invalid="ignore"):
        entropy = np.log(n) - weighted / n
    return n, np.where(n > 0, np.maximum(entropy, 0.0), np.nan)
