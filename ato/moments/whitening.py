"""Whitening: coordinates in which the train sample of a layer has unit covariance.

Whitened scores and canonical correlations are both measured in them, with S^(-1/2) of *train*, so that a score never
chooses its own metric from the tokens it is computed on.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from ato.numerics.memo import Memo
from ato.residuals.position_policies import Layer
from ato.text.splits import group_names

if TYPE_CHECKING:
    from ato.moments.moments import Moments

FLOAT64 = float(np.finfo(np.float64).eps)
RESOLUTION = 4e-7
"""Standard deviation relative to the mean, below which float32 residuals hold rounding and not variance."""


@dataclass(frozen=True)
class Whitening:
    """Coordinates in which a train sample has mean zero and the identity as covariance: (y - mean) @ matrix."""

    n: int
    """Train rows."""
    mean: np.ndarray
    """[d]."""
    matrix: np.ndarray
    """[d, k] with matrix' S matrix = I; any such matrix gives the norms of S^(-1/2)."""

    @property
    def kept(self) -> int:
        """Directions above the relative cut."""
        return self.matrix.shape[1]

    @classmethod
    def from_scatter(
        cls, mean: np.ndarray, scatter: np.ndarray, n: int, epsilon: float = FLOAT64, resolution: float = 1e-13
    ) -> "Whitening":
        """Whitening by the eigenvectors of a centred scatter sum [d, d] over n rows.

        Dimensions are first scaled to unit variance, so that a few of them a thousand times larger than the rest
        do not push honest small ones under the cut. Eigen-directions are dropped below 4 ``epsilon`` (at least 1e-12)
        times the largest eigenvalue: what is smaller is rounding of the products.

        Args:
            mean: [d].
            scatter: [d, d] float64.
            n: rows.
            epsilon: relative rounding of the products behind the scatter.
            resolution: standard deviation relative to the mean below which a dimension counts as constant.
        """
        scale = np.sqrt(np.clip(np.diagonal(scatter), 0, None) / n)
        varies = scale > np.maximum(1e-14 * scale.max(), resolution * np.abs(mean))
        inverse = np.divide(1.0, scale, out=np.zeros_like(scale), where=varies)
        values, vectors = np.linalg.eigh(scatter / n * inverse[:, None] * inverse)
        # Without any variance the largest eigenvalue is 0 and nothing is kept.
        kept = values > max(4 * epsilon, 1e-12) * values[-1]
        matrix = inverse[:, None] * vectors[:, kept] / np.sqrt(values[kept])
        return cls(n, np.asarray(mean, dtype=np.float64), matrix[:, ::-1])

    @classmethod
    def of_layer(cls, moments: "Moments", layer: Layer, groups: str | Sequence[str] = "train") -> "Whitening":
        """Whitening of a layer, made once and shared by all its pairs.

        Raises:
            LayerError: the moments lack the layer.
            DataError: the groups have no rows.
        """
        names = groups_of(moments, groups)

        def make() -> "Whitening":
            n, mean, scatter = moments.scatter(layer, names)
            return cls.from_scatter(mean, scatter, n, moments.epsilon, RESOLUTION)

        return _WHITENINGS.get(moments, (layer, tuple(names)), make)


_WHITENINGS: Memo[tuple[Layer, tuple[str, ...]], Whitening] = Memo(capacity=12)
"""Of so many layers that the pairs of a study, source by source, seldom ask for one again that was forgotten."""


def groups_of(moments: "Moments", split: str | Sequence[str]) -> list[str]:
    """Names of the groups of a split: ``"train"`` is all its folds; other names, or several, are groups."""
    if split == "train":
        return [name for name in group_names(moments.n_folds) if name.startswith("train")]
    return [split] if isinstance(split, str) else list(split)
