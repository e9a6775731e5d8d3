"""Sets of documents, a bit for each feature, count as Python's sets do."""

import numpy as np
import pytest

from ato.features.document_sets import DocumentsOfFeatures


@pytest.mark.parametrize("d_sae", [1, 8, 13])
def test_counts_are_those_of_plain_sets_however_documents_are_scattered_and_merged(d_sae):
    rng = np.random.default_rng(d_sae)
    document, feature = rng.integers(10**12, 10**12 + 30, size=400), rng.integers(d_sae, size=400) ** 2 % d_sae
    expected = [len(set(document[feature == f].tolist())) for f in range(d_sae)]
    whole, parts = DocumentsOfFeatures(d_sae), [DocumentsOfFeatures(d_sae) for _ in range(3)]
    whole.update(document, feature)
    for number, rows in enumerate(np.array_split(rng.permutation(400), 9)):
        parts[number % 3].update(document[rows], feature[rows])
    for other in parts[1:]:
        parts[0].merge(other)
    for found in (whole.counts(), parts[0].counts()):
        assert found.dtype == np.int64
        assert found.tolist() == expected


def test_nothing_seen_counts_nothing_and_merging_leaves_the_other_as_it_was():
    empty, other = DocumentsOfFeatures(5), DocumentsOfFeatures(5)
    assert empty.counts().tolist() == [0] * 5
    other.update(np.array([7]), np.array([4]))
    empty.merge(other)
    empty.update(np.array([7, 8]), np.array([0, 4]))
    assert empty.counts().tolist() == [1, 0, 0, 0, 2]
    assert other.counts().tolist() == [0, 0, 0, 0, 1]
