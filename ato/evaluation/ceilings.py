"""Canonical correlations: the best that any linear map of a given rank can reach.

With S the covariances of a train sample, C = S_yy^(-1/2) S_yx S_xx^(-1/2) has the canonical correlations rho as its
singular values, and R2_ceiling(r) = (1/d) sum_{i<=r} rho_i^2 is the largest whitened R2 of a linear map of rank r
(d = directions of y that vary). In-sample values are optimistic: for independent x and y their mean square is
p / (n - 1). The same directions measured on other documents give the lower end of the bracket.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from ato.errors import DataError, InputError, NonFiniteError
from ato.evaluation.subspace_sizes import SubspaceSizes, subspace_sizes
from ato.moments.whitening import Whitening, groups_of
from ato.residuals.position_policies import Layer

if TYPE_CHECKING:
    from ato.moments.moments import Moments


@dataclass(frozen=True)
class CanonicalModes:
    """Pairs of directions of x and y with the largest correlations, from a train sample.

    ``(x - mean_x) @ x_directions`` and ``(y - mean_y) @ y_directions`` are the canonical variates: unit variance on
    train (1/n), uncorrelated with each other except mode i with mode i, whose correlation is ``rho_in_sample[i]``.
    """

    n: int
    """Train tokens."""
    mean_x: np.ndarray
    """[d_in]."""
    mean_y: np.ndarray
    """[d_out]."""
    rho_in_sample: np.ndarray
    """[m], descending, in [0, 1]; m = min(p_kept, d_kept)."""
    x_directions: np.ndarray
    """[d_in, m]."""
    y_directions: np.ndarray
    """[d_out, m]."""
    y_complement: np.ndarray
    """[d_out, d_kept - m], the directions of y that have no partner in x."""
    p_kept: int
    """Directions of x above the relative cut."""
    source_layer: Layer | None = None
    target_layer: int | None = None

    @property
    def d_kept(self) -> int:
        """Directions of y above the relative cut: the d of (1/d) sum rho^2."""
        return int(self.y_directions.shape[1] + self.y_complement.shape[1])

    @property
    def y_whitening(self) -> Whitening:
        """Whitening of y by the canonical directions and their complement; norms are those of S_yy^(-1/2)."""
        return Whitening(self.n, self.mean_y, np.hstack([self.y_directions, self.y_complement]))

    @property
    def sizes(self) -> SubspaceSizes:
        """In-sample sizes of the linear transport subspace."""
        return subspace_sizes(self.rho_in_sample)

    def ceiling(self, rank: int) -> float:
        """In-sample ceiling (1/d_kept) sum_{i<=rank} rho_i^2; ranks beyond the last mode give the full ceiling."""
        return float(np.sum(self.rho_in_sample[: checked_rank(rank)] ** 2) / self.d_kept)

    @classmethod
    def from_whitenings(
        cls, x: Whitening, y: Whitening, sxy: np.ndarray, source: Layer | None = None, target: int | None = None
    ) -> "CanonicalModes":
        """Modes from the whitenings of x and y and their centred cross-scatter sum [d_in, d_out].

        A layer's whitening can so be shared by all its pairs.

        Raises:
            DataError: y does not vary, so that no share of its variance is defined.
        """
        _check_varies(y, target)
        left, rho, right = np.linalg.svd(y.matrix.T @ sxy.T @ x.matrix / x.n, full_matrices=y.kept > x.kept)
        m = len(rho)
        y_basis = y.matrix @ left
        return cls(
            n=x.n,
            mean_x=x.mean,
            mean_y=y.mean,
            rho_in_sample=np.clip(rho, 0.0, 1.0),
            x_directions=x.matrix @ right[:m].T,
            y_directions=y_basis[:, :m],
            y_complement=y_basis[:, m:],
            p_kept=x.kept,
            source_layer=source,
            target_layer=target,
        )

    @classmethod
    def from_moments(
        cls, moments: "Moments", source: Layer, target: int, groups: str | Sequence[str] = "train"
    ) -> "CanonicalModes":
        """Modes of one layer pair on the named groups (default all train folds).

        Raises:
            DataError: the groups are empty or the target does not vary on them.
        """
        x, y = (Whitening.of_layer(moments, layer, groups) for layer in (source, target))
        return cls.from_whitenings(x, y, moments.cross(source, target, groups_of(moments, groups)), source, target)

    @classmethod
    def from_arrays(cls, X: np.ndarray | torch.Tensor, Y: np.ndarray | torch.Tensor) -> "CanonicalModes":
        """Modes of rows X [n, d_in] and Y [n, d_out], computed in float64.

        Raises:
            InputError: shapes that do not fit, or fewer than two rows.
            NonFiniteError: NaN or infinity in X or Y.
            DataError: Y does not vary.
        """
        x, y = _checked_rows(X, Y)
        mean_x, mean_y = x.mean(0), y.mean(0)
        x, y = x - mean_x, y - mean_y
        return cls.from_whitenings(
            Whitening.from_scatter(mean_x, x.T @ x, len(x)),
            Whitening.from_scatter(mean_y, y.T @ y, len(x)),
            x.T @ y,
        )


@dataclass(frozen=True)
class CanonicalCorrelations:
    """The correlations of ``CanonicalModes`` without their directions: all that a permutation null is asked for."""

    rho_in_sample: np.ndarray
    """[m], descending, in [0, 1]."""
    d_kept: int
    """Directions of y above the relative cut."""

    def ceiling(self, rank: int) -> float:
        """As ``CanonicalModes.ceiling``."""
        return float(np.sum(self.rho_in_sample[: checked_rank(rank)] ** 2) / self.d_kept)

    @classmethod
    def from_moments(cls, moments: "Moments", source: Layer, target: int) -> "CanonicalCorrelations":
        """On all train folds, at a fraction of the cost of the modes; raises as ``CanonicalModes.from_moments``."""
        x, y = (Whitening.of_layer(moments, layer) for layer in (source, target))
        _check_varies(y, target)
        sxy = moments.cross(source, target, groups_of(moments, "train"))
        rho = np.linalg.svd(y.matrix.T @ sxy.T @ x.matrix / x.n, compute_uv=False)
        return cls(np.clip(rho, 0.0, 1.0), y.kept)


def _check_varies(y: Whitening, target: int | None) -> None:
    if not y.kept:
        raise DataError(
            "the target does not vary on train", where=f"layer {target}", cure="use more tokens or another layer"
        )


@dataclass(frozen=True)
class Ceiling:
    """Bracket of the best whitened R2 of linear maps of given ranks: [held_out, in_sample]."""

    rho: np.ndarray
    """[m] in-sample canonical correlations, descending."""
    d_kept: int
    """Directions of Y that vary."""
    in_sample: dict[int, float]
    """Rank -> (1/d_kept) sum of the first squared correlations; biased upwards by about d/n."""
    held_out: dict[int, float]
    """Rank -> the same with directions from one half of the documents and correlations from the other, averaged."""
    n: int
    """Rows."""


def ceiling(
    X: np.ndarray | torch.Tensor,
    Y: np.ndarray | torch.Tensor,
    ranks: Sequence[int],
    documents: np.ndarray | None = None,
) -> Ceiling:
    """Best whitened R2 that a linear map of each rank can reach from X to Y, in-sample and cross-fitted.

    Args:
        X: [n, d_in] rows, numpy or torch; computed in float64.
        Y: [n, d_out].
        ranks: ranks from 1; those beyond the number of modes give the full ceiling.
        documents: [n] document numbers: the two halves of the cross-fit then share no document. Without them the
            halves are the first and the second half of the rows.

    Raises:
        InputError: shapes that do not fit, fewer than four rows, or a single document.
        NonFiniteError: NaN or infinity in X or Y.
        DataError: Y does not vary (in one of the halves).
    """
    x, y = _checked_rows(X, Y)
    modes = CanonicalModes.from_arrays(x, y)
    first = _first_half(len(x), documents)
    in_sample = {rank: modes.ceiling(rank) for rank in ranks}
    halves = []
    for train in (first, ~first):
        half = CanonicalModes.from_arrays(x[train], y[train])
        gains = np.nan_to_num(remeasured_correlations(half, x[~train], y[~train])) ** 2
        halves.append([gains[:rank].sum() / half.d_kept for rank in ranks])
    held_out = np.average(halves, axis=0, weights=[np.sum(~first), np.sum(first)])
    return Ceiling(modes.rho_in_sample, modes.d_kept, in_sample, dict(zip(ranks, held_out.tolist())), len(x))


def remeasured_correlations(modes: CanonicalModes, x: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Correlation [m] of each pair of canonical variates on other rows x [n, d_in], y [n, d_out], about their means."""
    u, v = (x - modes.mean_x) @ modes.x_directions, (y - modes.mean_y) @ modes.y_directions
    u, v = u - u.mean(0), v - v.mean(0)
    return correlation((u * v).mean(0), (u * u).mean(0), (v * v).mean(0))


def correlation(covariance: np.ndarray, variance_u: np.ndarray, variance_v: np.ndarray) -> np.ndarray:
    """Correlation of variates with unit train variance, in [-1, 1]; NaN where one of them does not vary."""
    measurable = (variance_u > 1e-10) & (variance_v > 1e-10)
    scale = np.sqrt(np.where(measurable, variance_u * variance_v, np.nan))
    return np.clip(covariance / scale, -1.0, 1.0)


def checked_rank(rank: int) -> int:
    """The rank itself; InputError below 1."""
    if rank < 1:
        raise InputError(f"invalid rank {rank}", cure="use ranks of 1 or more")
    return int(rank)


def _checked_rows(X: np.ndarray | torch.Tensor, Y: np.ndarray | torch.Tensor) -> tuple[np.ndarray, np.ndarray]:
    x, y = (
        (a.detach().cpu().double().numpy() if isinstance(a, torch.Tensor) else np.asarray(a, dtype=np.float64))
        for a in (X, Y)
    )
    if x.ndim != 2 or y.ndim != 2 or len(x) != len(y):
        raise InputError(
            f"X {x.shape} and Y {y.shape} must have one row per token", cure="give [n, d_in] and [n, d_out]"
        )
    if len(x) < 2:
        raise InputError("a covariance needs at least two rows", where=f"{len(x)} rows", cure="give more rows")
    for name, a in (("X", x), ("Y", y)):
        if not np.isfinite(a).all():
            row = int(np.flatnonzero(~np.isfinite(a).all(1))[0])
            raise NonFiniteError(f"{name} holds NaN or infinity", where=f"row {row}", cure="drop such rows")
    return x, y


def _first_half(n: int, documents: np.ndarray | None) -> np.ndarray:
    """Mask [n] of one half of the rows: whole documents, dealt largest first to the smaller half."""
    if n < 4:
        raise InputError(
            "cross-fitting needs two halves of at least two rows", where=f"{n} rows", cure="give more rows"
        )
    if documents is None:
        return np.arange(n) < n // 2
    numbers, inverse, sizes = np.unique(np.asarray(documents), return_inverse=True, return_counts=True)
    if len(inverse) != n:
        raise InputError(f"{len(inverse)} document numbers for {n} rows", cure="pass one document number per row")
    if len(numbers) < 2:
        raise InputError(
            "cross-fitting needs at least two documents", cure="pass rows of several documents, or documents=None"
        )
    in_first = np.zeros(len(numbers), dtype=bool)
    filled = [0, 0]
    for i in np.argsort(-sizes, kind="stable"):
        in_first[i] = filled[0] <= filled[1]
        filled[0 if in_first[i] else 1] += sizes[i]
    return in_first[inverse]
