"""Which tokens stay out of every statistic, and why: special tokens, the first position, activation sinks."""

from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

SPECIAL_TOKEN, FIRST_POSITION, NORM_OUTLIER = "special_token", "first_position", "norm_outlier"


@dataclass(frozen=True)
class ExclusionPolicy:
    """The rules; a token that breaks several is counted under the first."""

    skip_special: bool = True
    """Leave out BOS, EOS and other tokens that stand for no text."""
    skip_first: bool = True
    """Leave out position 0 of every sequence: it carries massive activations that dominate every covariance."""
    max_norm_multiple: float | None = 10.0
    """Leave out a token, at all layers, if its norm at any layer exceeds this multiple of the layer's median."""

    def keep_tokens(
        self, token_ids: np.ndarray, positions: np.ndarray, special_token_ids: Collection[int]
    ) -> tuple[np.ndarray, Counter[str]]:
        """Mask [n] of the tokens kept by what they are and where they stand, and the dropped ones by reason."""
        special = np.isin(token_ids, sorted(special_token_ids)) & self.skip_special
        first = (positions == 0) & self.skip_first & ~special
        dropped = Counter({SPECIAL_TOKEN: int(special.sum()), FIRST_POSITION: int(first.sum())})
        return ~(special | first), +dropped

    def norm_outliers(self, norms: Mapping[int, np.ndarray], median_norm: Mapping[int, float]) -> np.ndarray:
        """Mask [n] of the tokens whose norm [n] at any layer exceeds the limit.

        NaN and infinite norms are no outliers: they are errors, which must be seen and not be dropped.
        """
        outlier = np.zeros(len(next(iter(norms.values()))), dtype=bool)
        if self.max_norm_multiple is not None:
            for layer, norm in norms.items():
                outlier |= np.isfinite(norm) & (norm > self.max_norm_multiple * median_norm[layer])
        return outlier
