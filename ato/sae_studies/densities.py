"""How often the features of an SAE fire: dead ones, those that fire nearly always, and the histogram of their rates."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.numerics.intervals import Estimate, EstimateArray, from_left_out
from ato.saes.autoencoder import ActiveFeatures
from ato.saes.quality import DOCUMENT_GROUPS

HIGH_FREQUENCY = 0.1
"""Share of the tokens above which a feature fires often."""
DENSITY_EDGES = np.arange(-24, 1) / 4
"""log10 of the activation rates between which features are counted: a quarter of a decade a bin, from 1e-6 to 1."""


@dataclass(frozen=True)
class DensityHistogram:
    """How many features fire how often."""

    edges: np.ndarray
    """[bins + 1] log10 of the rate; a bin holds its lower edge, the last one also a rate of 1, the first all below."""
    count: EstimateArray
    """[bins] features, with limits by document; NaN without a token."""
    never: Estimate
    """Features that fire on none of the tokens."""
    n_tokens: int
    """Tokens looked at: rates below 1 / n_tokens are not seen."""


class FeatureCounts:
    """Counts the tokens on which each feature is active, by group of documents.

    Memory is ``DOCUMENT_GROUPS`` x d_sae int32 (17 MB for 16,384 features), whatever the number of tokens.

    Args:
        d_sae: number of features.
    """

    def __init__(self, d_sae: int):
        self.d_sae = d_sae
        self._counts = np.zeros((DOCUMENT_GROUPS, d_sae), dtype=np.int32)
        self._tokens = np.zeros(DOCUMENT_GROUPS, dtype=np.int64)

    def update(self, document: np.ndarray, active: ActiveFeatures) -> "FeatureCounts":
        """Take the tokens of documents [n] into account, those without an active feature too."""
        group = np.asarray(document, dtype=np.int64) % DOCUMENT_GROUPS
        self._tokens += np.bincount(group, minlength=DOCUMENT_GROUPS)
        place = group[active.token.cpu().numpy()] * self.d_sae + active.feature.cpu().numpy()
        np.add.at(self._counts.reshape(-1), place, 1)
        return self

    def __add__(self, other: "FeatureCounts") -> "FeatureCounts":
        """Counts of both streams.

        Raises:
            MismatchError: they are of SAEs of different sizes.
        """
        if self.d_sae != other.d_sae:
            raise MismatchError(
                f"cannot add counts of SAEs with {self.d_sae} and {other.d_sae} features", cure="add those of one"
            )
        total = FeatureCounts(self.d_sae)
        total._counts, total._tokens = self._counts + other._counts, self._tokens + other._tokens
        return total

    @property
    def n_tokens(self) -> int:
        """Tokens looked at."""
        return int(self._tokens.sum())

    def n_active(self) -> np.ndarray:
        """[d_sae] int64, tokens on which each feature is active."""
        return self._counts.sum(0, dtype=np.int64)

    def rates(self) -> np.ndarray:
        """[d_sae] share of the tokens on which each feature is active; NaN without a token."""
        return _rates(self.n_active(), self.n_tokens)

    def tokens_and_active(self) -> tuple[np.ndarray, np.ndarray]:
        """Tokens [g] and active features [g] of each group of documents that has tokens."""
        seen = self._tokens > 0
        return self._tokens[seen].astype(np.float64), self._counts[seen].sum(1, dtype=np.int64).astype(np.float64)

    def dead_share(self) -> Estimate:
        """Share of the features that are active on none of the tokens.

        Its interval is about the expected share at this number of documents, by leaving one out; more text leaves fewer.
        """
        return self._of_rates(lambda rates: np.array([(rates == 0).mean()]), (0.0, 1.0))[0]

    def high_frequency_share(self, above: float = HIGH_FREQUENCY) -> Estimate:
        """Share of the features that are active on more than this share of the tokens."""
        return self._of_rates(lambda rates: np.array([(rates > above).mean()]), (0.0, 1.0))[0]

    def histogram(self, edges: np.ndarray = DENSITY_EDGES) -> DensityHistogram:
        """Features by log10 of their rate; those that are never active have a bin of their own.

        Args:
            edges: [bins + 1] ascending.
        """
        inner = np.asarray(edges, dtype=np.float64)[1:-1]

        def counted(rates: np.ndarray) -> np.ndarray:
            place = np.searchsorted(inner, np.log10(rates[rates > 0]), side="right")
            return np.append(np.bincount(place, minlength=len(edges) - 1), (rates == 0).sum()).astype(np.float64)

        found = self._of_rates(counted, (0.0, float(self.d_sae)))
        count = EstimateArray(found.value[:-1], found.low[:-1], found.high[:-1])
        return DensityHistogram(edges, count, found[len(edges) - 1], self.n_tokens)

    def _of_rates(self, function: Callable[[np.ndarray], np.ndarray], limits: tuple[float, float]) -> EstimateArray:
        """A function of the rates, [d_sae] -> [m], and its limits by leaving out a group of documents at a time."""
        n, n_active = self.n_tokens, self.n_active()
        if not n:
            nothing = np.full_like(function(np.zeros(self.d_sae)), np.nan)
            return EstimateArray(nothing, nothing, nothing)
        value, tokens = function(_rates(n_active, n)), self._tokens[self._tokens > 0]
        groups = self._counts[self._tokens > 0]
        without = np.stack(
            [
                function(_rates(n_active - own, n - of_group)) if of_group < n else np.full_like(value, np.nan)
                for own, of_group in zip(groups, tokens, strict=True)
            ]
        )
        rows = np.broadcast_to(tokens[:, None].astype(np.float64), without.shape)
        found = from_left_out(value, without, rows).interval()
        return EstimateArray(value, np.clip(found.low, *limits), np.clip(found.high, *limits))


def _rates(n_active: np.ndarray, n_tokens: int) -> np.ndarray:
    return n_active / n_tokens if n_tokens else np.full(len(n_active), np.nan)
