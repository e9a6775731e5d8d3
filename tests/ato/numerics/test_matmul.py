"""Products of rows against NumPy in float64."""

import numpy as np
import pytest
import torch

from ato.numerics.matmul import (
    CACHED_ROWS,
    add_cross_gram,
    add_sum_and_gram,
    cross_gram,
    matmul,
    sum_on_host,
    take_rows,
    write_centred,
)

N, D = 2 * CACHED_ROWS + 5, 6


def rows(seed: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return torch.randn(N, D, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def test_products_are_those_of_numpy():
    x, y = rows(0), rows(1)
    np.testing.assert_allclose(cross_gram(x, y), x.numpy().T @ y.numpy())
    np.testing.assert_allclose(matmul(x, y[:D].T.contiguous()), x.numpy() @ y[:D].numpy().T)


def test_taken_rows_lie_in_memory_of_their_own():
    x = rows(0)
    for index, expected in ((None, x.clone()), (np.array([5, 0]), x[[5, 0]].clone())):
        found = take_rows(x, index)
        found += 1
        torch.testing.assert_close(found - 1, expected)
    torch.testing.assert_close(x, rows(0))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_centred_rows_keep_the_digits_of_a_mean_of_300_sd(dtype):
    offset = np.full(D, 300.0) + 1e-9
    x = rows(2) + torch.from_numpy(offset)
    index = np.arange(N)[::-1].copy()
    out = torch.empty(N, D, dtype=dtype)
    write_centred(x, index, offset, out)
    np.testing.assert_allclose(out, rows(2).numpy()[index], rtol=1e-6, atol=1e-7 if dtype == torch.float32 else 1e-12)


@pytest.mark.parametrize("diagonal", [True, False])
def test_sums_accumulate_in_float64_over_blocks(diagonal):
    x, y = rows(3), rows(4)
    sums, cross = torch.zeros(D, dtype=torch.float64), torch.zeros(D, D, dtype=torch.float64)
    gram = torch.zeros((D,) if diagonal else (D, D), dtype=torch.float64)
    for part in (slice(0, 100), slice(100, N)):
        add_sum_and_gram(x[part], sums, gram)
        add_cross_gram(x[part], y[part], cross)
    own = x.numpy().T @ x.numpy()
    np.testing.assert_allclose(sums, x.numpy().sum(0))
    np.testing.assert_allclose(gram, np.diagonal(own) if diagonal else own)
    np.testing.assert_allclose(cross, x.numpy().T @ y.numpy())


def test_a_total_is_float64_and_leaves_its_parts_alone():
    parts = [torch.ones(3), torch.full((3,), 2.0)]
    found = sum_on_host(parts)
    found += 1
    assert found.dtype == np.float64
    assert found.tolist() == [4.0, 4.0, 4.0]
    assert parts[0].tolist() == [1.0, 1.0, 1.0]
