"""Sums per document: any order of rows and blocks gives the same."""

from dataclasses import dataclass

import numpy as np
import pytest
import torch

from ato.errors import DataError
from ato.numerics.document_sums import DocumentSums, Segments


@pytest.mark.parametrize("documents", [[5, 5, 2, 2, 2, 9], [2, 5, 2, 9, 5, 2], [7], [-1, 10**12, -1]])
def test_segment_sums_equal_sums_by_document_in_any_order(documents):
    documents = np.array(documents)
    rows = torch.randn(len(documents), 3, dtype=torch.float64)
    segments = Segments.of(documents)
    sums = segments.sums(segments.arrange(rows))
    assert sorted(segments.documents) == sorted(set(documents))
    for number, total in zip(segments.documents, sums):
        np.testing.assert_allclose(total, rows.numpy()[documents == number].sum(0))


@dataclass(frozen=True)
class Pair:
    a: np.ndarray
    b: tuple[np.ndarray | None, np.ndarray]


def test_document_sums_do_not_depend_on_the_order_of_blocks_and_merge():
    rng = np.random.default_rng(2)
    blocks = [(rng.permutation(100)[:30], rng.standard_normal((30, 2))) for _ in range(6)]

    def collected(order):
        table = DocumentSums()
        for i in order:
            table.add(blocks[i][0], Pair(blocks[i][1], (None, blocks[i][1][:, 0])))
        return table

    forward, backward = collected(range(6)), collected(range(5, -1, -1))
    merged = collected([3, 1]) + collected([0, 5, 2, 4]) + DocumentSums()
    expected = np.zeros((100, 2))
    for documents, values in blocks:
        expected[documents] += values
    seen = sorted({int(number) for documents, _ in blocks for number in documents})
    for table in (forward, backward, merged):
        assert len(table) == len(seen)
        np.testing.assert_allclose(table.sums().a, expected[seen], atol=1e-12)
        np.testing.assert_allclose(table.sums().b[1], expected[seen, 0], atol=1e-12)


def test_sums_of_no_document_are_refused():
    with pytest.raises(DataError, match="no document"):
        DocumentSums().sums()
