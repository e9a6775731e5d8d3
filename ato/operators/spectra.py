"""Spectra of a transport operator: how strongly it stretches, and how much it rotates."""

from dataclasses import dataclass

import numpy as np

from ato.operators.operator import TransportOperator


@dataclass(frozen=True)
class OperatorSpectrum:
    """Singular values and eigenvalues of an operator's matrix T."""

    singular_values: np.ndarray
    """[min(d_out, d_in)] descending: the gain along each principal direction."""
    eigenvalues: np.ndarray | None
    """[d] complex, by descending magnitude; a conjugate pair is a rotation. None unless T is square."""


def operator_spectrum(operator: TransportOperator) -> OperatorSpectrum:
    """Singular values, and for equal widths eigenvalues, of T.

    Of a conjugate pair the eigenvalue with the positive imaginary part comes first.
    """
    matrix = operator.matrix
    singular_values = np.linalg.svd(matrix, compute_uv=False)
    if matrix.shape[0] != matrix.shape[1]:
        return OperatorSpectrum(singular_values, None)
    values = np.linalg.eigvals(matrix).astype(np.complex128)
    order = np.lexsort((-values.imag, -values.real, -np.abs(values)))
    return OperatorSpectrum(singular_values, values[order])
