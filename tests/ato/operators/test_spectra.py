"""Spectra of operators against closed forms."""

import numpy as np

from ato.operators import TransportOperator
from ato.operators.spectra import operator_spectrum


def spectrum_of(matrix: np.ndarray):
    return operator_spectrum(TransportOperator(matrix, np.zeros(len(matrix)), "linear"))


def test_a_scaled_rotation_has_its_angle_and_gain_in_the_eigenvalues():
    angle, gain = 0.7, 1.3
    rotation = gain * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    matrix = np.zeros((3, 3))
    matrix[:2, :2], matrix[2, 2] = rotation, -0.4
    found = spectrum_of(matrix)
    np.testing.assert_allclose(found.eigenvalues, [gain * np.exp(1j * angle), gain * np.exp(-1j * angle), -0.4])
    np.testing.assert_allclose(found.singular_values, [gain, gain, 0.4])


def test_planted_eigenvalues_and_singular_values_come_back_by_magnitude():
    rng = np.random.default_rng(0)
    values = np.array([0.1, -3.0, 2.0, 0.5])
    basis = rng.standard_normal((4, 4))
    matrix = basis @ np.diag(values) @ np.linalg.inv(basis)
    found = spectrum_of(matrix)
    np.testing.assert_allclose(found.eigenvalues, [-3, 2, 0.5, 0.1], atol=1e-10)
    gram = np.linalg.eigvalsh(matrix.T @ matrix)
    np.testing.assert_allclose(found.singular_values, np.sqrt(gram[::-1]), rtol=1e-8)
    assert found.eigenvalues.dtype == np.complex128


def test_a_symmetric_operator_has_equal_magnitudes_in_both_spectra():
    matrix = np.random.default_rng(1).standard_normal((6, 6))
    found = spectrum_of(matrix + matrix.T)
    np.testing.assert_allclose(np.abs(found.eigenvalues), found.singular_values, rtol=1e-10)


def test_layers_of_different_widths_have_singular_values_only():
    left, right = (np.linalg.qr(np.random.default_rng(seed).standard_normal((d, 3)))[0] for seed, d in ((0, 5), (1, 3)))
    found = spectrum_of(left @ np.diag([5.0, 2.0, 0.0]) @ right.T)
    np.testing.assert_allclose(found.singular_values, [5, 2, 0], atol=1e-12)
    assert found.eigenvalues is None
