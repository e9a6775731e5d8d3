"""How often each feature fires in each part of the text: density and share, as exact counts over a stream."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ato.errors import MismatchError
from ato.features.strata import Stratum
from ato.numerics.ratios import ratio
from ato.residuals.blocks import ResidualBlock
from ato.saes.autoencoder import ActiveFeatures


@dataclass(frozen=True)
class RatesOfStratum:
    """Counts of one stratum with v values."""

    name: str
    values: tuple[str, ...]
    n_tokens: np.ndarray
    """[v] int64, tokens in each part."""
    n_active: np.ndarray
    """[d_sae, v] int64, those of them on which the feature is active."""

    @property
    def density(self) -> np.ndarray:
        """[d_sae, v] n_active / n_tokens: comparable between parts; NaN for a part without tokens."""
        return ratio(self.n_active, self.n_tokens)

    @property
    def share(self) -> np.ndarray:
        """[d_sae, v] part of the feature's active tokens, of those that the stratum says something of; its rows sum to 1.

        NaN for a feature that has none.
        """
        return ratio(self.n_active, self.n_active.sum(axis=1, keepdims=True))


class StrataRates:
    """Accumulates the counts of every feature by stratum.

    Memory is d_sae x values of all strata, whatever the number of tokens.

    Args:
        d_sae: number of features.
        strata: what divides the text; each divides it on its own.
    """

    def __init__(self, d_sae: int, strata: Sequence[Stratum]):
        self._d_sae, self._strata = d_sae, tuple(strata)
        self._n_tokens = [np.zeros(len(s.values), dtype=np.int64) for s in self._strata]
        self._n_active = [np.zeros(d_sae * len(s.values), dtype=np.int64) for s in self._strata]

    def update(self, block: ResidualBlock, active: ActiveFeatures) -> "StrataRates":
        """Take a block into account."""
        token, feature = active.token.cpu().numpy(), active.feature.cpu().numpy()
        for stratum, n_tokens, n_active in zip(self._strata, self._n_tokens, self._n_active, strict=True):
            code, n_values = stratum.code_of(block), len(stratum.values)
            n_tokens += np.bincount(code[code >= 0], minlength=n_values)
            of_active = code[token]
            cell = feature * n_values + of_active
            np.add.at(n_active, cell[of_active >= 0], 1)
        return self

    def __add__(self, other: "StrataRates") -> "StrataRates":
        """The counts over both streams.

        Raises:
            MismatchError: they are of other strata, or of SAEs of different sizes.
        """
        if self._rule != other._rule:
            raise MismatchError(
                "counts of different strata cannot be added", cure="count the same features by the same"
            )
        total = StrataRates(self._d_sae, self._strata)
        total._n_tokens = [a + b for a, b in zip(self._n_tokens, other._n_tokens, strict=True)]
        total._n_active = [a + b for a, b in zip(self._n_active, other._n_active, strict=True)]
        return total

    @property
    def _rule(self) -> tuple:
        return self._d_sae, [(s.name, s.values) for s in self._strata]

    def result(self) -> dict[str, RatesOfStratum]:
        """The counts by name of the stratum."""
        counts = zip(self._strata, self._n_tokens, self._n_active, strict=True)
        return {
            s.name: RatesOfStratum(s.name, s.values, tokens.copy(), active.reshape(self._d_sae, -1).copy())
            for s, tokens, active in counts
        }
