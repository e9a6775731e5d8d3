"""Sums per document of a target and of operators' errors, as residual-space scores need them, on host and accelerator.

On the host an operator is one task of NumPy on one core: its BLAS is the faster one, and several operators share the
cores better than the threads of one product do.
"""

from dataclasses import dataclass

import numpy as np
import torch

from ato.numerics.document_sums import Segments
from ato.numerics.matmul import matmul


@dataclass(frozen=True)
class Target:
    """Arranged rows of a block that all operators of a pair are scored on."""

    segments: Segments
    x_centred: torch.Tensor
    """[n, d_in]"""
    y: torch.Tensor
    """[n, d_out]"""
    y_centred: torch.Tensor
    """[n, d_out]"""
    y_norm: torch.Tensor
    """[n]"""
    y_white: torch.Tensor | None
    """[n, k] ``y_centred`` in whitened coordinates; None where they are not asked for."""


@dataclass(frozen=True)
class UpdateSums:
    """Sums of the update y - x, less its mean on train, where x and y are equally wide."""

    u: np.ndarray
    """[s, d]"""
    uu: np.ndarray
    """[s, d] squares."""
    identity: np.ndarray
    """[s] squares of y - x itself, over all dimensions: the errors of the identity."""


@dataclass(frozen=True)
class TargetSums:
    """Sums of the target y, less its mean on train: what the scores of all operators share."""

    n: np.ndarray
    """[s] rows."""
    y: np.ndarray
    """[s, d_out]"""
    yy: np.ndarray
    """[s, d_out] squares."""
    white: np.ndarray
    """[s] squares in whitened coordinates, over all of them."""
    update: UpdateSums | None
    """None where x has another width."""


@dataclass(frozen=True)
class ErrorSums:
    """Sums of one operator's errors."""

    squares: np.ndarray
    """[s, d_out] squared errors."""
    of_rows: np.ndarray
    """[s, 2] whitened squared errors over all coordinates, and cosines of y and y_hat."""


def target_sums(target: Target, x: torch.Tensor, update_mean: torch.Tensor | None) -> TargetSums:
    """The sums [s, ...] of a target's s documents.

    Args:
        target: the rows.
        x: [n, d_in] arranged source rows.
        update_mean: [d] what is subtracted from y - x; None where x has another width.
    """
    segments, centred = target.segments, target.y_centred
    white = centred[:, :1] if target.y_white is None else target.y_white
    of_update = None
    if update_mean is not None:
        update = target.y - x
        identity = segments.sums(torch.linalg.vecdot(update, update).double())
        update -= update_mean
        of_update = UpdateSums(segments.sums(update), segments.sums(update * update), identity)
    return TargetSums(
        n=np.array(segments.lengths, dtype=np.float64),
        y=segments.sums(centred),
        yy=segments.sums(centred * centred),
        white=segments.sums(torch.linalg.vecdot(white, white).double()),
        update=of_update,
    )


def error_sums(target: Target, matrix: torch.Tensor | None, bias: torch.Tensor, whitening: torch.Tensor) -> ErrorSums:
    """The sums [s, ...] of an operator's errors in a target's s documents.

    Args:
        target: the rows.
        matrix: [d_in, d_out], y_hat of centred rows being x matrix + bias; None if it is all zero, 1 if the identity.
        bias: [d_out].
        whitening: [d_out, k].
    """
    error = _error(target, matrix, bias)
    if target.y_white is None:
        white = error[:, :1]
    elif matrix is None:  # that of the target itself, moved
        white = target.y_white - bias @ whitening
    else:
        white = matmul(error, whitening)
    rows = torch.stack([_dot(white, white), _cosine(target, error)], dim=1).double()
    squares = np.square(error.numpy(), out=error.numpy()) if error.is_cpu else error * error
    return ErrorSums(target.segments.sums(torch.as_tensor(squares)), target.segments.sums(rows))


def _error(target: Target, matrix: torch.Tensor | None, bias: torch.Tensor) -> torch.Tensor:
    """y - y_hat, [n, d_out], without forming either far from zero."""
    if matrix is None:
        return target.y_centred - bias
    predicted = target.x_centred * matrix if matrix.ndim == 0 else matmul(target.x_centred, matrix)
    if predicted.is_cpu:
        error = predicted.numpy()
        np.subtract(target.y_centred.numpy(), error, out=error)
        error -= bias.numpy()
        return predicted
    return torch.sub(target.y_centred, predicted, out=predicted).sub_(bias)


def _cosine(target: Target, error: torch.Tensor) -> torch.Tensor:
    if error.is_cpu:
        y_hat = torch.from_numpy(target.y.numpy() - error.numpy())
        norms = torch.from_numpy(np.sqrt(_dot(y_hat, y_hat).numpy()) * target.y_norm.numpy())
    else:
        y_hat = target.y - error
        norms = torch.linalg.vector_norm(y_hat, dim=1) * target.y_norm
    return torch.where(norms > 0, _dot(target.y, y_hat) / norms, 0.0)


def _dot(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """Dot products [n] of rows."""
    if a.is_cpu:
        return torch.from_numpy(np.einsum("ij,ij->i", a.numpy(), b.numpy()))
    return torch.linalg.vecdot(a, b)
