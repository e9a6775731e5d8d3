"""Windows, budgets and groups of the sequences that documents give."""

from collections import Counter

import numpy as np
import pytest

from ato.errors import CorpusError, SettingsError
from ato.text import Document
from ato.text.documents import document_id
from ato.text.sequences import check_folds, make_sequences, window_starts
from ato.text.splits import group_names
from tests.tiny_models import byte_tokenizer

TOKENIZER = byte_tokenizer()


def document(text: str) -> Document:
    return Document(document_id(text), "test", text)


def documents(n: int, length: int) -> list[Document]:
    rng = np.random.default_rng(length)
    letters = np.array(list("abcdefgh "))
    return [document(f"{i}:" + "".join(rng.choice(letters, length))) for i in range(n)]


def sequences(docs, **options):
    defaults = dict(seq_len=16, n_tokens=None, max_sequences_per_document=None, min_len=4, split_seed=0, n_folds=5)
    return list(make_sequences(docs, TOKENIZER, **defaults | options))


def test_windows_hold_the_documents_own_tokens_at_their_start():
    docs = documents(5, 100)
    for sequence in sequences(docs):
        text = next(d.text for d in docs if d.document_id == sequence.document_id)
        window = text[sequence.start : sequence.start + 16]  # one token a character
        assert sequence.text == window
        assert sequence.token_ids.tolist() == TOKENIZER(window)["input_ids"]
        assert sequence.token_ids.dtype == np.int32


@pytest.mark.parametrize("limit", [None, 1, 2, 3, 7, 50])
@pytest.mark.parametrize("n_tokens", [16, 17, 31, 32, 100, 999])
def test_windows_lie_inside_do_not_overlap_and_are_evenly_spaced(n_tokens, limit):
    starts = window_starts(n_tokens, 16, limit)
    assert len(starts) == min(limit or n_tokens, n_tokens // 16)
    assert starts[0] >= 0
    assert starts[-1] + 16 <= n_tokens
    gaps = np.diff(starts)
    assert (gaps >= 16).all()
    assert gaps.size == 0 or gaps.max() - gaps.min() <= 1
    assert abs(starts[0] - (n_tokens - starts[-1] - 16)) <= 1  # as far from the one end as from the other


def test_a_document_shorter_than_a_window_gives_itself_and_a_tiny_one_nothing():
    skipped: Counter[str] = Counter()
    texts = ["abcdefgh", "abc", "", "  \n", "abcdefgh"]
    found = sequences([document(text) for text in texts], skipped=skipped)
    assert [(s.text, s.start, len(s.token_ids)) for s in found] == [("abcdefgh", 0, 8)]
    assert skipped == {"too_short": 1, "empty": 2, "duplicate": 1}


def test_a_duplicate_document_changes_nothing():
    docs = documents(6, 60)
    again = sequences([docs[0], docs[0], *docs[1:], docs[3]])
    assert [(s.sequence_id, s.text) for s in again] == [(s.sequence_id, s.text) for s in sequences(docs)]


@pytest.mark.parametrize("budget", [16, 100, 160, 161])
def test_the_budget_is_never_exceeded_and_used_as_far_as_whole_windows_go(budget):
    found = sequences(documents(5, 100), n_tokens=budget)
    total = sum(len(s.token_ids) for s in found)
    assert budget - 16 < total <= budget


def test_the_budget_ends_the_reading_of_documents():
    read = []

    def stream():
        for doc in documents(1000, 100):
            read.append(doc)
            yield doc

    sequences(stream(), n_tokens=64)
    assert len(read) < 50


def test_numbers_run_without_gaps_and_documents_never_mix():
    docs = documents(20, 70)
    found = sequences([document("ab"), *docs], max_sequences_per_document=3)
    assert [s.sequence_id for s in found] == list(range(60))
    assert [s.document for s in found] == [i // 3 for i in range(60)]
    assert len({(s.document, s.document_id) for s in found}) == 20


def test_a_prepended_bos_leads_every_sequence_and_counts_into_its_length():
    found = sequences(documents(3, 100), prepend_bos=True)
    assert all(s.token_ids[0] == TOKENIZER.bos_token_id and len(s.token_ids) == 16 for s in found)
    assert all(len(s.text) == 15 for s in found)


def test_the_split_depends_on_the_document_and_the_seed_alone():
    docs = documents(60, 40)
    forwards = {s.document_id: (s.split, s.fold) for s in sequences(docs)}
    backwards = {s.document_id: (s.split, s.fold) for s in sequences(docs[::-1], seq_len=8)}
    assert forwards == backwards
    assert forwards != {s.document_id: (s.split, s.fold) for s in sequences(docs, split_seed=1)}


def test_group_is_the_index_of_the_groups_name():
    for sequence in sequences(documents(40, 20)):
        name = group_names(5)[sequence.group(5)]
        assert name == (sequence.split if sequence.fold is None else f"train-{sequence.fold}")


def test_enough_documents_are_counted_per_group():
    found = sequences(documents(100, 40))
    counts = check_folds(found, 5)
    assert list(counts) == list(group_names(5))
    assert sum(counts.values()) == 100


def test_fewer_documents_than_groups_are_refused_with_counts_and_cure():
    with pytest.raises(
        CorpusError, match=r"3 documents are too few for 5 folds.*train-0 \d.*test \d.*about 37 documents fill 5 folds"
    ):
        check_folds(sequences(documents(3, 40)), 5)
    with pytest.raises(CorpusError, match="0 documents"):
        check_folds([], 2)


def test_contradicting_lengths_and_a_missing_bos_are_refused():
    with pytest.raises(SettingsError, match="min_len 17 must not exceed seq_len 16"):
        sequences([], min_len=17)
    with pytest.raises(SettingsError, match="between 1 and 15"):
        sequences([], min_len=16, prepend_bos=True)
    bare = byte_tokenizer()
    bare.bos_token = None
    options = dict(seq_len=8, n_tokens=None, max_sequences_per_document=None, min_len=1, split_seed=0, n_folds=2)
    with pytest.raises(SettingsError, match="no BOS"):
        list(make_sequences([], bare, **options, prepend_bos=True))


@pytest.mark.parametrize("written", ["", "<bos>", "<bos><bos>"])
def test_a_text_that_already_begins_with_bos_has_one_where_one_is_asked_for(written):
    (plain,) = sequences([document("hello world")], prepend_bos=True)
    (found,) = sequences([document(written + "hello world")], prepend_bos=True)
    assert found.token_ids.tolist() == plain.token_ids.tolist() == [1, *TOKENIZER("hello world")["input_ids"]]
    assert (found.start, found.text) == (0, "hello world")


def test_later_windows_of_a_text_with_bos_have_their_own_and_overlap_nothing():
    found = sequences([document("<bos>" + "abcdefgh" * 6)], prepend_bos=True)
    plain = sequences([document("abcdefgh" * 6)], prepend_bos=True)
    assert [(s.start, s.token_ids.tolist()) for s in found] == [(s.start, s.token_ids.tolist()) for s in plain]
    assert all(s.token_ids.tolist().count(1) == 1 for s in found)


def test_a_bos_in_the_text_stays_as_it_is_where_none_is_asked_for():
    (found,) = sequences([document("<bos>hello")])
    assert found.token_ids.tolist() == [1, *TOKENIZER("hello")["input_ids"]]
