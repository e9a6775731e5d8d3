"""Best matches of queries: those of all cosines at once, however many vectors there are."""

import numpy as np
import pytest

from ato.autointerp.meaning import REFERENCE_QUERIES, best_cosines
from ato.errors import InputError


def unit(n: int, seed: int, d: int = 16) -> np.ndarray:
    x = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


@pytest.mark.parametrize("n", [1, 5, 23])
def test_the_best_cosines_are_those_of_all_pairs_whatever_the_blocks_and_their_order(n, monkeypatch):
    vectors, queries = unit(n, 0), unit(7, 1)
    expected = [max(float(v @ q) for v in vectors.astype(np.float64)) for q in queries]
    np.testing.assert_allclose(best_cosines(vectors, queries), expected, atol=1e-6)
    monkeypatch.setattr("ato.autointerp.meaning._ROWS", 4)
    np.testing.assert_allclose(best_cosines(vectors[::-1], queries), expected, atol=1e-6)
    np.testing.assert_allclose(best_cosines(np.repeat(vectors, 2, axis=0), queries), expected, atol=1e-6)


@pytest.mark.parametrize("vectors", [unit(0, 0), unit(3, 0, d=5)], ids=["none", "narrow"])
def test_no_vector_and_another_width_are_refused(vectors):
    with pytest.raises(InputError, match="vectors of shape"):
        best_cosines(vectors, unit(2, 1))


def test_the_unrelated_queries_are_a_hundred_different_phrases():
    assert len(set(REFERENCE_QUERIES)) == len(REFERENCE_QUERIES) == 100
    assert all(len(query.split()) == 2 and query == query.strip() for query in REFERENCE_QUERIES)
