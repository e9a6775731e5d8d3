"""Reading corpora: text files, JSON lines, Parquet, the embedded speeches, datasets of the hub."""

import json
from collections import abc
from functools import lru_cache
from pathlib import Path
from typing import Any

from ato.errors import CorpusError, UnavailableError
from ato.io import embedded
from ato.io.hashing import digest_of
from ato.io.hub import ask_hub
from ato.text import Document
from ato.text.documents import document_id

BUCKET_BYTES = 256 * 2**20
"""Larger local corpora are read in several passes, one range of document hashes each, to bound memory."""
_HUB_PREFIX = "hub:"


def read_documents(spec: str, text_field: str = "text") -> abc.Iterator[Document]:
    """The documents of a corpus.

    Local corpora are sorted by document hash, so file names and order do not matter; hub datasets keep their order.

    Args:
        spec: ``sotu`` (embedded), a ``.txt``, ``.jsonl`` or ``.parquet`` file, a folder of such files, or
            ``hub:dataset[:config[:split]]``.
        text_field: field or column of the text in JSON lines, Parquet and hub datasets.

    Raises:
        CorpusError: the corpus is missing, empty, not UTF-8, or has no such field.
        UnavailableError: the hub cannot be reached, or the embedded corpus is not installed.
        DamagedFileError: the embedded corpus is not the published one.
    """
    if spec.startswith(_HUB_PREFIX):
        yield from _hub_documents(spec, text_field)
        return
    files = _local_files(spec)
    n_buckets = max(1, -(-sum(file.stat().st_size for file in files) // BUCKET_BYTES))
    for bucket in range(n_buckets):
        members = [d for d in _all_documents(files, text_field) if _bucket(d.document_id, n_buckets) == bucket]
        yield from sorted(members, key=lambda d: (d.document_id, d.name))


def corpus_hash(spec: str, text_field: str = "text") -> str:
    """Identity of the corpus: SHA-256 over its sorted document hashes, first 16 hex digits.

    For a hub dataset, over its name and commit, without reading it.

    Raises:
        CorpusError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    if spec.startswith(_HUB_PREFIX):
        return digest_of([spec, text_field, _hub_commit(spec)])[:16]
    files = _local_files(spec)
    state = tuple((status.st_size, status.st_mtime_ns) for status in (file.stat() for file in files))
    return _hash_of_documents(tuple(files), state, text_field)


@lru_cache(maxsize=64)
def _hash_of_documents(files: tuple[Path, ...], state: tuple[tuple[int, int], ...], text_field: str) -> str:
    """Remembered within the process for files in the same state, of the same sizes and modification times."""
    return digest_of(d.document_id for d in _all_documents(list(files), text_field))[:16]


def _bucket(document_id: str, n_buckets: int) -> int:
    """Index of the document's hash range; ranges are equal and ascending, so buckets preserve the order."""
    return int(document_id, 16) * n_buckets >> 64


def _local_files(spec: str) -> list[Path]:
    if spec == embedded.CORPUS_NAME:
        return embedded.corpus_files()
    path = Path(spec).expanduser()
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in _READERS and file.is_file())
        if not files:
            cure = f"add {', '.join(_READERS)} files"
            raise CorpusError("no documents in the folder", where=spec, cure=cure)
        return files
    if not path.is_file():
        cure = f"use {embedded.CORPUS_NAME}, a file, a folder or {_HUB_PREFIX}dataset"
        raise CorpusError("corpus not found", where=spec, cure=cure)
    if path.suffix not in _READERS:
        raise CorpusError(
            f"unsupported file type {path.suffix or '(none)'}", where=spec, cure=f"use {', '.join(_READERS)}"
        )
    return [path]


def _all_documents(files: list[Path], text_field: str) -> abc.Iterator[Document]:
    found = False
    for file in files:
        for name, text in _READERS[file.suffix](file, text_field):
            found = found or bool(text.strip())
            yield _document(name, text)
    if not found:
        raise CorpusError(
            "the corpus has no text", where=files[0] if len(files) == 1 else files[0].parent, cure="check the files"
        )


def _document(name: str, text: str) -> Document:
    try:
        return Document(document_id(text), name, text)
    except CorpusError as error:
        raise CorpusError(error.what, where=f"{name}, {error.where}", cure=error.cure) from None


def _decoded(data: bytes, file: Path, offset: int = 0) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise CorpusError(
            "the file is not UTF-8", where=f"{file}, byte {offset + error.start}", cure="convert it to UTF-8"
        ) from None


def _read_txt(file: Path, text_field: str) -> abc.Iterator[tuple[str, str]]:
    yield file.name, _decoded(file.read_bytes(), file)


def _read_jsonl(file: Path, text_field: str) -> abc.Iterator[tuple[str, str]]:
    offset = 0
    with file.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            name = f"{file.name}, line {number}"
            text = _decoded(line, file, offset)
            offset += len(line)
            if not text.strip():
                continue
            try:
                record = json.loads(text)
            except (ValueError, RecursionError):
                raise CorpusError(
                    "a line is not valid JSON", where=f"{file}, line {number}", cure="fix the line"
                ) from None
            if not isinstance(record, dict) or not isinstance(record.get(text_field), str):
                fields = sorted(record) if isinstance(record, dict) else []
                raise _no_field(text_field, f"{file}, line {number}", fields)
            yield name, record[text_field]


def _read_parquet(file: Path, text_field: str) -> abc.Iterator[tuple[str, str]]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(file) as parquet:
            schema = parquet.schema_arrow
            if text_field not in schema.names or not _is_text(schema.field(text_field).type):
                raise _no_field(text_field, file, [f.name for f in schema if _is_text(f.type)])
            row = 0
            for batch in parquet.iter_batches(columns=[text_field], batch_size=1024):
                for text in batch.column(0).to_pylist():
                    yield f"{file.name}, row {row}", text or ""
                    row += 1
    except (pa.ArrowInvalid, OSError) as error:
        raise CorpusError("the Parquet file cannot be read", where=file, cure="write it again") from error


def _is_text(arrow_type: Any) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(arrow_type) or types.is_large_string(arrow_type))


def _no_field(text_field: str, where: object, fields: list[str]) -> CorpusError:
    cure = f"name one of the fields {', '.join(fields)}" if fields else "add a text field to every record"
    return CorpusError(f"no text in field {text_field}", where=where, cure=cure)


_READERS: dict[str, abc.Callable[[Path, str], abc.Iterator[tuple[str, str]]]] = {
    ".txt": _read_txt,
    ".jsonl": _read_jsonl,
    ".parquet": _read_parquet,
}


def _hub_parts(spec: str) -> tuple[str, str | None, str]:
    """Dataset, configuration and split of ``hub:dataset[:config[:split]]``."""
    dataset, config, split, *rest = [*spec.removeprefix(_HUB_PREFIX).split(":"), "", ""]
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


def _hub_documents(spec: str, text_field: str) -> abc.Iterator[Document]:
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
        if not isinstance(record.get(text_field), str):
            raise _no_field(text_field, f"{spec}, row {number}", sorted(record))
        yield _document(f"{spec}, row {number}", record[text_field])
