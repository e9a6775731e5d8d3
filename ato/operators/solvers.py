"""Linear solves from centred scatter matrices: ridge at every strength, pseudo-inverse, reduced rank. Pure functions.

Rows act from the left here: y_hat = x B with B [d_in, d_out], the transpose of an operator's matrix.
"""

from dataclasses import dataclass

import numpy as np

from ato.errors import InputError, SettingsError

OUTPUT_WEIGHTS = ("whitened", "raw", "features")

FEATURE_FLOOR = 1e-6
"""eps of the features weight, relative to the mean eigenvalue of D'D: a map is defined off the features' span too."""


@dataclass(frozen=True)
class Eigendecomposition:
    """Eigendecomposition of a scatter matrix, without the directions that are rounding."""

    values: np.ndarray
    """[k] kept eigenvalues, ascending, all positive."""
    vectors: np.ndarray
    """[d, k] their eigenvectors."""

    @property
    def kept_rank(self) -> int:
        """Number of directions kept."""
        return len(self.values)


@dataclass(frozen=True)
class ReducedRank:
    """Reduced-rank solution of every rank: B_r = left[:, :r] @ right[:r]."""

    left: np.ndarray
    """[d_in, m]"""
    right: np.ndarray
    """[m, d_out]"""
    gains: np.ndarray
    """[m] what each rank adds to the weighted sum of squares explained, descending."""

    def weights(self, rank: int) -> np.ndarray:
        """B_r [d_in, d_out]."""
        return self.left[:, :rank] @ self.right[:rank]


def decompose(scatter: np.ndarray, epsilon: float = float(np.finfo(np.float64).eps)) -> Eigendecomposition:
    """Eigendecomposition of a scatter matrix [d, d] with the directions below its rounding dropped.

    A direction q is dropped when its eigenvalue is below d * eps64 * (largest), or below the rounding
    of the products that reached it, 4 * epsilon * sum_i q_i^2 S_ii. The second bound is weighted by the
    coordinates' own scales, so a few coordinates 1000x larger than the rest do not hide the others.

    Args:
        scatter: symmetric [d, d], float64.
        epsilon: relative rounding of the products (``PairMoments.epsilon``).
    """
    values, vectors = np.linalg.eigh(scatter)
    machine = len(values) * float(np.finfo(np.float64).eps) * max(values[-1], 0.0)
    reached = 4 * epsilon * (scatter.diagonal() @ vectors**2)
    kept = values > np.maximum(machine, reached)
    return Eigendecomposition(values[kept], vectors[:, kept])


def ridge(eigen: Eigendecomposition, sxy: np.ndarray, alpha: float) -> np.ndarray:
    """B = Q (w + alpha)^-1 Q' Sxy, the minimiser of ||Y - XB||^2 + alpha ||B||^2; the pseudo-inverse at alpha = 0.

    Args:
        eigen: of Sxx.
        sxy: centred cross scatter [d_in, d_out].
        alpha: strength on the *sum* of squares (scikit-learn's ``Ridge``).
    """
    return eigen.vectors @ (eigen.vectors.T @ sxy / (eigen.values + alpha)[:, None])


def ridge_errors(
    eigen: Eigendecomposition,
    sxy: np.ndarray,
    rotated_xx: np.ndarray,
    rotated_xy: np.ndarray,
    syy: np.ndarray,
    weights: np.ndarray,
    alphas: np.ndarray,
) -> np.ndarray:
    """Weighted sum of squared errors on other rows, sum_j u_j SSE_j, at every strength [alphas].

    With G = Q' Sxy, s = 1 / (w + alpha) and U = diag(u), the errors of B = Q diag(s) G are a quadratic form in s,
    sum u.Myy - 2 s.diag(G U (Q'Mxy)') + s' (Q'Mxx Q * G U G') s: no product of matrices for each strength.

    Args:
        eigen: of Sxx of the rows fitted on.
        sxy: their cross scatter [d_in, d_out].
        rotated_xx: Q' Mxx Q [k, k], M being the scatter of the other rows about the means of the rows fitted on.
        rotated_xy: Q' Mxy [k, d_out].
        syy: diagonal of Myy [d_out].
        weights: u >= 0 [d_out].
        alphas: strengths.
    """
    gain = eigen.vectors.T @ sxy * np.sqrt(weights)  # [k, d_out]
    linear = np.einsum("kj,kj->k", gain, rotated_xy * np.sqrt(weights))
    quadratic = rotated_xx * (gain @ gain.T)
    shrunk = 1 / (eigen.values + alphas[:, None])  # [alphas, k]
    return weights @ syy - 2 * shrunk @ linear + np.einsum("ak,ak->a", shrunk @ quadratic, shrunk)


def output_root(
    output_weight: str, syy: np.ndarray, epsilon: float, decoder: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """A factor A [d_out, q] of the output metric G = A A', and its left inverse [q, d_out].

    Args:
        output_weight: ``whitened`` (G = Syy^-1, canonical correlations), ``raw`` (G = I) or ``features``
            (G = D'D + eps I).
        syy: centred scatter of the target [d_out, d_out].
        epsilon: relative rounding behind it.
        decoder: D [features, d_out], rows of the SAE decoder, for ``features``.

    Raises:
        SettingsError: unknown weight, or ``features`` without a decoder.
        InputError: the decoder has another width.
    """
    if output_weight not in OUTPUT_WEIGHTS:
        raise SettingsError(f"unknown output weight {output_weight!r}", cure=f"choose from {list(OUTPUT_WEIGHTS)}")
    if output_weight == "raw":
        return np.eye(len(syy)), np.eye(len(syy))
    if output_weight == "whitened":
        eigen = decompose(syy, epsilon)
        roots = 1 / np.sqrt(eigen.values)
        return eigen.vectors * roots, (eigen.vectors / roots).T
    if decoder is None:
        raise SettingsError("the output weight features needs decoder rows", cure="pass decoder=[features, d_out]")
    if decoder.ndim != 2 or decoder.shape[1] != len(syy):
        raise InputError(
            "decoder rows have the wrong width", where=f"{decoder.shape}", cure=f"pass [features, {len(syy)}]"
        )
    values, vectors = np.linalg.eigh(decoder.T @ decoder)
    roots = np.sqrt(np.maximum(values, 0) + FEATURE_FLOOR * values.mean())
    return vectors * roots, (vectors / roots).T


def reduced_rank(
    eigen: Eigendecomposition, sxy: np.ndarray, alpha: float, root: np.ndarray, inverse_root: np.ndarray
) -> ReducedRank:
    """Reduced-rank ridge regression in the metric G = A A' at every rank (Izenman 1975; Mukherjee and Zhu 2011).

    B_r = B A V_r V_r' A^+ with B the ridge solution and V_r the leading eigenvectors of A' Syx (Sxx + alpha)^-1 Sxy A.

    Args:
        eigen: of Sxx.
        sxy: centred cross scatter [d_in, d_out].
        alpha: ridge strength.
        root, inverse_root: from ``output_root``.
    """
    rotated = eigen.vectors.T @ (sxy @ root) / np.sqrt(eigen.values + alpha)[:, None]  # [k, q]
    gains, modes = np.linalg.eigh(rotated.T @ rotated)
    gains, modes = np.maximum(gains[::-1], 0), modes[:, ::-1]
    left = eigen.vectors @ (rotated @ modes / np.sqrt(eigen.values + alpha)[:, None])
    return ReducedRank(left, modes.T @ inverse_root, gains)
