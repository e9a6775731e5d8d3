"""Documents are named by the hash of their bytes."""

import pytest

from ato.errors import CorpusError
from ato.text.documents import document_id


def test_a_document_is_named_by_the_hash_of_its_bytes():
    assert document_id("") == "e3b0c44298fc1c14"  # SHA-256 of nothing
    assert document_id("\u00e9") != document_id("e\u0301")  # composed and decomposed: other bytes, another document


def test_half_a_surrogate_pair_is_refused():
    with pytest.raises(CorpusError, match="not valid Unicode"):
        document_id("a\ud800")
