"""From documents to sequences of tokens: windows, the budget, and the assignment to train, val and test."""

from collections import Counter, abc
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np

from ato.errors import CorpusError, SettingsError
from ato.text.documents import Document
from ato.text.splits import SPLIT_TENTHS, assign_split, group_names

_BATCH_DOCUMENTS = 8
MOST_GROUPS = 12
"""Of more groups a message names the empty ones only."""


@dataclass(frozen=True)
class TokenSequence:
    """Consecutive tokens of one document."""

    sequence_id: int
    """Number within the collection."""
    document_id: str
    document: int
    """Number of the document within the collection, counting documents that gave a sequence."""
    split: str
    """train, val or test."""
    fold: int | None
    """Cross-validation fold within train; None elsewhere."""
    start: int
    """Offset of the window in the document, in tokens."""
    token_ids: np.ndarray
    """[n] int32, with the BOS token in front if the model wants one."""
    text: str
    """The decoded window, without that BOS."""

    def group(self, n_folds: int) -> int:
        """Index of the sequence's group in ``group_names(n_folds)``."""
        if self.split == "train":
            assert self.fold is not None
            return self.fold
        return n_folds + (self.split == "test")


def make_sequences(
    documents: abc.Iterable[Document],
    tokenizer: Any,
    *,
    seq_len: int,
    n_tokens: int | None,
    max_sequences_per_document: int | None,
    min_len: int,
    split_seed: int,
    n_folds: int,
    prepend_bos: bool = False,
    skipped: Counter[str] | None = None,
) -> abc.Iterator[TokenSequence]:
    """Cut documents into sequences, in the order the documents come.

    A document gives as many whole windows as it holds and the limit allows, each in the middle of an equal part of
    the document, never overlapping; one that is shorter than a window gives itself.

    Args:
        documents: read as far as the budget reaches.
        tokenizer: a transformers tokenizer.
        seq_len: tokens in a whole sequence, BOS included.
        n_tokens: budget; the stream ends before the sequence that would exceed it. None for no limit.
        max_sequences_per_document: so that few long documents do not use up the budget. None for no limit.
        min_len: shorter documents, in tokens without BOS, are skipped.
        split_seed: salt of the split.
        n_folds: cross-validation folds within train.
        prepend_bos: put the tokenizer's BOS token before every sequence. A document that begins with it in its own text, as
            chat templates write it, keeps one: offsets are counted behind it.
        skipped: counts documents left out, by reason (duplicate, empty, too_short), as the stream is read.

    Raises:
        SettingsError: lengths contradict each other, or the tokenizer has no BOS token to prepend.
    """
    prefix = _bos(tokenizer) if prepend_bos else []
    width = seq_len - len(prefix)
    if not 1 <= min_len <= width:
        cure = f"choose min_len between 1 and {max(width, 1)}"
        raise SettingsError(f"min_len {min_len} must not exceed seq_len {seq_len}", where="sequences", cure=cure)
    skipped = Counter() if skipped is None else skipped
    left = float("inf") if n_tokens is None else n_tokens
    sequence_id = 0
    number = 0
    for document, ids in _tokenised(_distinct(documents, skipped), tokenizer):
        own = next((i for i, token in enumerate(ids) if [token] != prefix), len(ids))  # BOS that a chat template wrote
        ids = ids[own:]
        if len(ids) < min_len:
            skipped["too_short"] += 1
            continue
        split, fold = assign_split(document.document_id, split_seed, n_folds)
        for start in window_starts(len(ids), width, max_sequences_per_document):
            window = ids[start : start + width]
            left -= len(prefix) + len(window)
            if left < 0:
                return
            text = tokenizer.decode(window, clean_up_tokenization_spaces=False)
            token_ids = np.array(prefix + window, dtype=np.int32)
            yield TokenSequence(sequence_id, document.document_id, number, split, fold, start, token_ids, text)
            sequence_id += 1
        number += 1


def window_starts(n_tokens: int, width: int, limit: int | None) -> list[int]:
    """Starts of the windows of a document: at most ``limit``, evenly spaced, not overlapping.

    Window i of k lies in the middle of the i-th of k equal parts; a document shorter than ``width`` has one, at 0.
    """
    count = n_tokens // width if limit is None else min(limit, n_tokens // width)
    if n_tokens < width:
        return [0]
    return [((2 * i + 1) * n_tokens - count * width) // (2 * count) for i in range(count)]


def check_folds(
    sequences: abc.Iterable[TokenSequence],
    n_folds: int,
    split_seed: int | None = None,
    skipped: abc.Mapping[str, int] | None = None,
) -> dict[str, int]:
    """Documents per group (``train-0`` ... ``val``, ``test``).

    Args:
        split_seed: that the groups come from, so that the message can say how many folds these documents fill.
        skipped: documents left out, by reason, for the message; read once the sequences are.

    Raises:
        CorpusError: a group has no document, so that something could be neither fitted nor tested.
    """
    documents = {sequence.document_id: sequence.group(n_folds) for sequence in sequences}
    found = Counter(documents.values())
    counts = {name: found[i] for i, name in enumerate(group_names(n_folds))}
    if 0 in counts.values():
        shown = {name: count for name, count in counts.items() if count == 0 or len(counts) <= MOST_GROUPS}
        listed = ", ".join(f"{name} {count}" for name, count in shown.items())
        left_out = ", ".join(f"{n:,} {reason}" for reason, n in sorted((skipped or {}).items()))
        raise CorpusError(
            f"{len(documents)} documents are too few for {n_folds} folds, val and test",
            where=f"documents per group: {listed}" + (f"; left out: {left_out}" if left_out else ""),
            cure=_enough(documents, n_folds, split_seed),
        )
    return counts


def documents_needed(n_folds: int, risk: float = 0.05) -> int:
    """Documents that fill all folds, val and test but for a small risk.

    Groups are drawn by hash, so the chance that n documents leave one empty is at most the sum over groups of (1 - share)^n.
    """
    train, val, test = np.diff([0, *SPLIT_TENTHS.values()]) / 10
    shares, n = np.array([train / n_folds] * n_folds + [val, test]), 2
    while ((1 - shares) ** n).sum() > risk:
        n += 1
    return n


def _enough(documents: abc.Collection[str], n_folds: int, split_seed: int | None) -> str:
    """What would do instead: fewer folds that these documents fill, or more documents."""
    more = f"about {documents_needed(n_folds)} documents fill {n_folds} folds (raise collect.n_tokens if the corpus has them)"
    if split_seed is not None:
        for folds in range(n_folds - 1, 1, -1):
            if len({assign_split(one, split_seed, folds) for one in documents}) == folds + 2:
                return f"set collect.n_folds={folds}, or add documents: {more}"
    least = f"; about {documents_needed(2)} fill collect.n_folds=2" if n_folds > 2 else ""
    return f"add documents: {more}{least}"


def _bos(tokenizer: Any) -> list[int]:
    if tokenizer.bos_token_id is None:
        cure = "set prepend_bos to false"
        raise SettingsError("the tokenizer has no BOS token to prepend", where="sequences", cure=cure)
    return [tokenizer.bos_token_id]


def _distinct(documents: abc.Iterable[Document], skipped: Counter[str]) -> abc.Iterator[Document]:
    seen: set[str] = set()
    for document in documents:
        if not document.text.strip():
            skipped["empty"] += 1
        elif document.document_id in seen:
            skipped["duplicate"] += 1
        else:
            seen.add(document.document_id)
            yield document


def _tokenised(documents: abc.Iterator[Document], tokenizer: Any) -> abc.Iterator[tuple[Document, list[int]]]:
    while batch := list(islice(documents, _BATCH_DOCUMENTS)):
        texts = [document.text for document in batch]
        # verbose=False: whole documents may exceed the model's context, the windows never do.
        encoded = tokenizer(texts, add_special_tokens=False, return_attention_mask=False, verbose=False)
        yield from zip(batch, encoded["input_ids"])
