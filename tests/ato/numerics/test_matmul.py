"""Products of rows are the plain ones, in the precision of the rows, and summed in float64."""

import numpy as np
import pytest
import torch

from ato.numerics import matmul as module
from ato.numerics.matmul import (
    add_cross_gram,
    add_sum_and_gram,
    cross_gram,
    matmul,
    sum_on_host,
    take_rows,
    write_centred,
)


@pytest.fixture
def x() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).normal(size=(300, 7)))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_products_are_those_of_the_definition_and_of_the_precision_of_the_rows(x, dtype):
    a, b = x.to(dtype), x[:, :3].to(dtype) + 1
    tolerance = {"rtol": 1e-4 if dtype == torch.float32 else 1e-12, "atol": 1e-4 if dtype == torch.float32 else 1e-12}
    found = cross_gram(a, b)
    assert found.dtype == matmul(a, a[:7]).dtype == dtype
    expected = torch.einsum("ni,nj->ij", a.double(), b.double())
    torch.testing.assert_close(found.double(), expected, **tolerance)
    torch.testing.assert_close(matmul(a, a[:7]).double(), a.double() @ a[:7].double(), **tolerance)


def test_sums_and_products_are_added_to_what_is_there_in_float64(x):
    sums, gram, diagonal, cross = torch.ones(7), torch.ones(7, 7), torch.ones(7), torch.ones(7, 7)
    sums, gram, diagonal, cross = (t.double() for t in (sums, gram, diagonal, cross))
    rows = x.float()
    for _ in range(2):
        add_sum_and_gram(rows, sums, gram)
        add_cross_gram(rows, rows + 1, cross)
    add_sum_and_gram(rows, torch.zeros(7, dtype=torch.float64), diagonal)
    exact = rows.double()
    torch.testing.assert_close(sums, 1 + 2 * exact.sum(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(gram, 1 + 2 * exact.T @ exact, rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(diagonal, 1 + (exact**2).sum(0), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(cross, 1 + 2 * exact.T @ (exact + 1), rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize("cached", [1, 10, 1000])
def test_rows_less_an_offset_are_written_where_they_belong(x, cached, monkeypatch):
    monkeypatch.setattr(module, "CACHED_ROWS", cached)
    index, offset = np.random.default_rng(1).integers(300, size=45), np.arange(7.0)
    for dtype, out_dtype in ((torch.float64, torch.float64), (torch.float32, torch.float64), (torch.float32,) * 2):
        out = torch.full((50, 7), -1.0, dtype=out_dtype)
        write_centred(x.to(dtype), index, offset, out[3:48])
        expected = (x.to(dtype)[index].double() - torch.from_numpy(offset)).to(out_dtype)
        torch.testing.assert_close(out[3:48], expected)
        assert (out[:3] == -1).all()
        assert (out[48:] == -1).all()


def test_an_offset_of_300_deviations_leaves_a_narrow_row_its_digits():
    x = 300 + torch.arange(4, dtype=torch.float64)[:, None] / 1e6
    out = torch.zeros(4, 1, dtype=torch.float32)
    write_centred(x, np.arange(4), np.array([300.0]), out)
    np.testing.assert_allclose(out[:, 0], [0, 1e-6, 2e-6, 3e-6], rtol=1e-6, atol=1e-12)


def test_taken_rows_lie_in_memory_of_their_own(x):
    for index in (None, np.array([3, 3, 0])):
        rows = take_rows(x, index)
        assert torch.equal(rows, x if index is None else x[index])
        assert rows.data_ptr() != x.data_ptr()


def test_a_sum_of_parts_changes_none_of_them(x):
    parts = [x[:2], x[2:4].float(), x[4:6]]
    before = [part.clone() for part in parts]
    found = sum_on_host(iter(parts))
    np.testing.assert_allclose(found, sum(part.double().numpy() for part in parts))
    found[:] = 0
    assert found.dtype == np.float64
    assert all(torch.equal(a, b) for a, b in zip(parts, before))
