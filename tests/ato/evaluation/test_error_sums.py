"""Sums per document of a target and of an operator's errors against plain sums over rows."""

import numpy as np
import pytest
import torch

from ato.evaluation.error_sums import Target, error_sums, target_sums
from ato.numerics.document_sums import Segments

N, D = 30, 4
DOCUMENTS = np.array([3, 1, 1, 7, 3] * 6)
X_MEAN, Y_MEAN = torch.arange(D).double(), torch.arange(D).double() - 5


@pytest.fixture
def rows():
    draw = torch.Generator().manual_seed(0)
    x, y = (torch.randn(N, D, generator=draw, dtype=torch.float64) + 20 for _ in range(2))
    return x, y, torch.randn(D, D, generator=draw, dtype=torch.float64)


def target_of(x, y, whitening=None):
    segments = Segments.of(DOCUMENTS)
    x, y = segments.arrange(x), segments.arrange(y)
    white = None if whitening is None else (y - Y_MEAN) @ whitening
    return Target(segments, x - X_MEAN, y, y - Y_MEAN, y.norm(dim=1), white), x


def by_document(values):
    """Sums of rows [N, ...], in the order of the segments."""
    return np.stack([values.numpy()[number == DOCUMENTS].sum(0) for number in Segments.of(DOCUMENTS).documents])


def test_the_sums_of_a_target_are_those_of_its_rows_by_document(rows):
    x, y, whitening = rows
    target, arranged = target_of(x, y, whitening)
    sums = target_sums(target, arranged, Y_MEAN - X_MEAN)
    update = y - x
    np.testing.assert_array_equal(sums.n, by_document(torch.ones(N)))
    np.testing.assert_allclose(sums.y, by_document(y - Y_MEAN))
    np.testing.assert_allclose(sums.yy, by_document((y - Y_MEAN) ** 2))
    np.testing.assert_allclose(sums.white, by_document((((y - Y_MEAN) @ whitening) ** 2).sum(1)))
    np.testing.assert_allclose(sums.update.u, by_document(update - (Y_MEAN - X_MEAN)))
    np.testing.assert_allclose(sums.update.identity, by_document((update**2).sum(1)))
    assert target_sums(target, arranged, None).update is None


def test_the_sums_of_an_operator_are_those_of_its_errors_by_document(rows):
    x, y, whitening = rows
    matrix, bias = torch.eye(D).double() * 0.5, torch.full((D,), 0.25).double()
    found = error_sums(target_of(x, y, whitening)[0], matrix, bias, whitening)
    y_hat = Y_MEAN + (x - X_MEAN) @ matrix + bias
    np.testing.assert_allclose(found.squares, by_document((y - y_hat) ** 2))
    np.testing.assert_allclose(found.of_rows[:, 0], by_document((((y - y_hat) @ whitening) ** 2).sum(1)))
    np.testing.assert_allclose(found.of_rows[:, 1], by_document(torch.cosine_similarity(y, y_hat)))


def test_an_operator_of_zeros_needs_no_product(rows):
    x, y, whitening = rows
    bias, target = torch.ones(D).double(), target_of(x, y, whitening)[0]
    with_product = error_sums(target, torch.zeros(D, D).double(), bias, whitening)
    without = error_sums(target, None, bias, whitening)
    np.testing.assert_allclose(without.squares, with_product.squares)
    np.testing.assert_allclose(without.of_rows, with_product.of_rows)
