"""Reading corpora: files of many formats, the embedded speeches, datasets of the hub."""

import sys
from collections import Counter, abc
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from ato.errors import CorpusError, UnavailableError
from ato.io import embedded
from ato.io.hashing import digest_of
from ato.io.hub import ask_hub
from ato.text import Document
from ato.text.documents import document_id
from warehouse.datasets.corpus_files import HUB_PREFIX, Corpus, corpus_files, corpus_label, is_hub
from warehouse.datasets.corpus_formats import format_of
from warehouse.datasets.corpus_records import FieldReader

BUCKET_BYTES = 512 * 2**20
"""Most memory of a local corpus' documents at a time: larger ones, as they are once decompressed, are read in several passes."""
NULL = "null"
"""Why a document whose text is NULL is left out."""


def read_documents(
    corpus: Corpus, text_field: str | FieldReader = "text", skipped: Counter[str] | None = None
) -> abc.Iterator[Document]:
    """The documents of a corpus.

    Local corpora are sorted by document hash, so file names and order do not matter; hub datasets keep their order.

    Args:
        corpus: ``sotu`` or ``encyclopedia`` (embedded), a file, a folder, a pattern such as ``~/texts/**/*.md``, a list of these, or
            ``hub:dataset[:config[:split]]``. Formats are those of ``corpus_formats.CORPUS_FORMATS``.
        text_field: field or column of the text, where records have fields, or how it is read from them.
        skipped: counts documents whose text is NULL, as the stream is read.

    Raises:
        CorpusError: the corpus is missing, empty, damaged, not UTF-8, or has no such field.
        SettingsError: conversations, and the model has no chat template.
        UnavailableError: the hub cannot be reached, or the embedded corpus is not installed.
        DamagedFileError: the embedded corpus is not the published one.
    """
    reader = FieldReader(text_field) if isinstance(text_field, str) else text_field
    skipped = Counter() if skipped is None else skipped
    if is_hub(corpus):
        yield from (record.document for record in _hub_records(corpus_label(corpus), reader, skipped))
        return
    found = corpus_files(corpus)
    above: str | None = ""
    counted = skipped
    while above is not None:
        members, above = _smallest(_all_documents(found.read, reader, counted), above)
        for one in sorted(members):
            for _ in range(members[one].times):
                yield members[one].document
        counted = Counter()


class DocumentRecord(NamedTuple):
    """A document with the record that it is the text of."""

    document: Document
    file: Path | None
    """None for a dataset of the hub."""
    fields: Any
    """The record, at least its text and ``FieldReader.columns``; None where files have no records."""


def read_records(corpus: Corpus, reader: FieldReader) -> abc.Iterator[DocumentRecord]:
    """The documents of a corpus with their records, in the order of files and rows, each as often as it comes.

    Raises:
        CorpusError, SettingsError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    if is_hub(corpus):
        return _hub_records(corpus_label(corpus), reader, Counter())
    return _all_records(corpus_files(corpus).read, reader, Counter())


def check_corpus(corpus: Corpus) -> None:
    """Raise CorpusError if there are no such files, or a hub dataset is not named as one is; reads nothing."""
    if is_hub(corpus):
        _hub_parts(corpus_label(corpus))
    else:
        corpus_files(corpus)


def corpus_hash(corpus: Corpus, text_field: str | FieldReader = "text") -> str:
    """Identity of the corpus: SHA-256 over its sorted document hashes, first 16 hex digits.

    For a hub dataset, over its name and commit, without reading it.

    Raises:
        CorpusError, SettingsError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    reader = FieldReader(text_field) if isinstance(text_field, str) else text_field
    if is_hub(corpus):
        spec = corpus_label(corpus)
        return digest_of([spec, reader.field, _hub_commit(spec)])[:16]
    found = corpus_files(corpus)
    return _hash_of_documents(found.read, found.state, reader)


@lru_cache(maxsize=64)
def _hash_of_documents(files: tuple[Path, ...], state: tuple[tuple[int, int], ...], reader: FieldReader) -> str:
    """Remembered within the process for files in the same state, of the same sizes and modification times."""
    nulls: Counter[str] = Counter()
    hashes = [d.document_id for d in _all_documents(files, reader, nulls)]
    return digest_of([*hashes, *[document_id("")] * nulls[NULL]])[:16]


@dataclass
class _Held:
    """A document in memory, once for all the times it comes; of its names the first in their order."""

    document: Document
    times: int = 1

    @property
    def size(self) -> int:
        """Bytes of memory, about."""
        return sys.getsizeof(self.document.text) + 512

    def again(self, document: Document) -> None:
        """The same text once more."""
        self.times += 1
        self.document = min(self.document, document, key=lambda one: one.name)


def _smallest(documents: abc.Iterable[Document], above: str) -> tuple[dict[str, _Held], str | None]:
    """Documents with the smallest hashes above one, as many as ``BUCKET_BYTES`` hold, by hash; and their last if more follow."""
    members: dict[str, _Held] = {}
    held, end = 0, ""
    for document in documents:
        key = document.document_id
        if key <= above or (end and key >= end):
            continue
        if key in members:
            members[key].again(document)
            continue
        members[key] = _Held(document)
        held += members[key].size
        if held > BUCKET_BYTES and len(members) > 1:
            end = _cut(members)
            held = sum(one.size for one in members.values())
    return members, max(members) if end else None


def _cut(members: dict[str, _Held]) -> str:
    """Leave three quarters of what fits, at least one document: those with the smallest hashes; the first hash that is left out."""
    held, end = 0, ""
    for key in sorted(members):
        held += members[key].size
        if not end and held > BUCKET_BYTES * 3 // 4 and key != min(members):
            end = key
        if end:
            del members[key]
    return end


def _all_documents(files: abc.Sequence[Path], reader: FieldReader, skipped: Counter[str]) -> abc.Iterator[Document]:
    return (record.document for record in _all_records(files, reader, skipped))


def _all_records(files: abc.Sequence[Path], reader: FieldReader, skipped: Counter[str]) -> abc.Iterator[DocumentRecord]:
    found = False
    for file in files:
        kind = format_of(file)
        assert kind is not None  # only such files are read
        for name, text, fields in kind.documents(file, reader):
            if text is None:
                skipped[NULL] += 1
                continue
            found = found or bool(text.strip())
            yield DocumentRecord(_document(name, text), file, fields)
    if not found:
        nulls = f": {skipped[NULL]} records, all NULL" if skipped[NULL] else ""
        raise CorpusError(
            f"the corpus has no text{nulls}",
            where=files[0] if len(files) == 1 else files[0].parent,
            cure="check the files" if not nulls else "name another field in collect.text_field",
        )


def _document(name: str, text: str) -> Document:
    try:
        return Document(document_id(text), name, text)
    except CorpusError as error:
        raise CorpusError(error.what, where=f"{name}, {error.where}", cure=error.cure) from None


def _hub_parts(spec: str) -> tuple[str, str | None, str]:
    """Dataset, configuration and split of ``hub:dataset[:config[:split]]``."""
    dataset, config, split, *rest = [*spec.removeprefix(HUB_PREFIX).split(":"), "", ""]
    if not dataset or any(rest):
        raise CorpusError(
            "invalid hub dataset", where=spec, cure="write hub:dataset, hub:dataset:config or hub:dataset:config:split"
        )
    return dataset, config or None, split or "train"


def _hub_commit(spec: str) -> str:
    return ask_hub(
        _hub_parts(spec)[0],
        kind="dataset",
        missing=CorpusError("the hub has no such dataset", where=spec, cure="check the spelling, or set HF_TOKEN"),
        unreachable=UnavailableError(
            "the hub cannot be reached", where=spec, cure=f"use {embedded.CORPUS_NAME} or a local corpus"
        ),
    )


def _hub_records(spec: str, reader: FieldReader, skipped: Counter[str]) -> abc.Iterator[DocumentRecord]:
    dataset, config, split = _hub_parts(spec)
    commit = _hub_commit(spec)
    from datasets import load_dataset

    try:
        records = iter(load_dataset(dataset, config, split=split, revision=commit, streaming=True))
    except Exception as error:  # datasets raises whatever its builders raise.
        raise CorpusError(
            f"the dataset cannot be read: {error}", where=spec, cure="check configuration and split"
        ) from error
    for number, record in enumerate(records):
        name = f"{spec}, row {number}"
        if (text := reader.text(record, name)) is None:
            skipped[NULL] += 1
        else:
            yield DocumentRecord(_document(name, text), None, record)
