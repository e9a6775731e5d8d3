"""The registry of corpus formats: a reader for each, by the endings of file names; what is compressed is read as it is."""

import gzip
import io
from collections import abc
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, cast

from ato.errors import CorpusError
from warehouse.datasets.corpus_records import FieldReader, Found
from warehouse.datasets.corpus_tables import read_arrow, read_parquet
from warehouse.datasets.corpus_texts import (
    START_BYTES,
    check_encoding,
    read_csv,
    read_json,
    read_jsonl,
    read_text,
    read_tsv,
)
from warehouse.datasets.encyclopedia import is_encyclopedia, read_articles

COMPRESSED = (".gz", ".zst")
"""Endings behind those of a text format."""
Read = abc.Iterator[Found]


@dataclass(frozen=True)
class CorpusFormat:
    """One kind of file."""

    suffixes: tuple[str, ...]
    """Endings of file names, in lower case; capitals are the same."""
    document: str
    """What one document is, in words."""
    read_stream: abc.Callable[[BinaryIO, Path, FieldReader], Read] | None = None
    """Reads a stream of bytes; such files may be compressed."""
    read_file: abc.Callable[[Path, FieldReader], Read] | None = None
    """Reads a file that must be at hand as a whole."""

    @property
    def compressible(self) -> bool:
        """Whether ``.gz`` and ``.zst`` of it are read."""
        return self.read_stream is not None

    def documents(self, file: Path, reader: FieldReader) -> Read:
        """The documents of a file, in order.

        Raises:
            CorpusError: it is damaged, not UTF-8, or has no such field.
        """
        if self.read_stream is None:
            assert self.read_file is not None
            yield from self.read_file(file, reader)
            return
        with _opened(file) as stream:
            check_encoding(stream.peek(START_BYTES)[:START_BYTES], file)
            yield from self.read_stream(stream, file, reader)


CORPUS_FORMATS = (
    CorpusFormat(
        (".txt", ".md"), "a file, or with `collect.one_document_per_line` a line of it", read_stream=read_text
    ),
    CorpusFormat(
        (".jsonl", ".ndjson"), "a line: a JSON object with the field `collect.text_field`", read_stream=read_jsonl
    ),
    CorpusFormat((".json",), "an object of a list, or of several in a row", read_stream=read_json),
    CorpusFormat((".csv",), "a row below a line of names; quoted cells may hold line breaks", read_stream=read_csv),
    CorpusFormat((".tsv",), "the same with tabs between cells", read_stream=read_tsv),
    CorpusFormat((".parquet",), "a row", read_file=read_parquet),
    CorpusFormat((".arrow",), "a row of an Arrow file or stream, as `datasets` saves them", read_file=read_arrow),
)
"""Every format, in the order that messages name them."""
_ENCYCLOPEDIA = CorpusFormat((), "an article", read_stream=read_articles)
_BY_SUFFIX = {suffix: one for one in CORPUS_FORMATS for suffix in one.suffixes}


def suffixes() -> tuple[str, ...]:
    """Endings of all formats."""
    return tuple(_BY_SUFFIX)


def format_of(file: Path) -> CorpusFormat | None:
    """The format that a file's name says; None for others. Capitals do not matter."""
    if is_encyclopedia(file):
        return _ENCYCLOPEDIA
    ending = file.suffix.lower()
    if ending not in COMPRESSED:
        return _BY_SUFFIX.get(ending)
    inner = _BY_SUFFIX.get(Path(file.stem).suffix.lower())
    return inner if inner is not None and inner.compressible else None


@contextmanager
def _opened(file: Path) -> abc.Iterator[io.BufferedReader]:
    """The bytes of a file, decompressed as they are read."""
    import pyarrow as pa

    ending = file.suffix.lower()
    try:
        if ending == ".zst":
            with pa.input_stream(str(file), compression="zstd") as stream:
                yield io.BufferedReader(stream, 2**20)
        else:
            with gzip.open(file) if ending == ".gz" else file.open("rb") as plain:
                yield (
                    plain
                    if isinstance(plain, io.BufferedReader)
                    else io.BufferedReader(cast(io.RawIOBase, plain), 2**20)
                )
    except (OSError, EOFError) as error:
        cure = "write or download it again" if ending in COMPRESSED else "check that it can be read"
        raise CorpusError(f"the file cannot be read: {' '.join(str(error).split())}", where=file, cure=cure) from error
