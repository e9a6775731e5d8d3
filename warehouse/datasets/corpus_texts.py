"""Readers of text formats: plain text, JSON lines, JSON, CSV; each streams, and says where a file is wrong."""

import codecs
import csv
import json
import re
import sys
from collections import abc
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from ato.errors import CorpusError
from warehouse.datasets import corpus_records
from warehouse.datasets.corpus_records import FieldReader, Found, too_long

CHUNK_BYTES = 2**20
START_BYTES = 512
"""Bytes of a file's start that show its encoding."""


def read_text(stream: BinaryIO, file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """The whole file, or each of its lines; empty lines are no documents."""
    if not reader.lines:
        data = stream.read(corpus_records.MOST_BYTES + 1)
        if len(data) > corpus_records.MOST_BYTES:
            raise too_long("the file", file, "cut it into documents, or set collect.one_document_per_line=true")
        yield Found(file.name, _decoded(_without_bom(data), file))
        return
    for number, line in _numbered(stream, file):
        if line.strip():
            yield Found(f"{file.name}, line {number}", line.rstrip("\r\n"))


def read_jsonl(stream: BinaryIO, file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """One JSON object a line; empty lines are skipped."""
    for number, line in _numbered(stream, file):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            record = json.loads(line)
        except ValueError as error:
            reason = getattr(error, "msg", "too long a number")
            cure = "fix the line, or remove it"
            raise CorpusError(f"a line is not valid JSON ({reason})", where=where, cure=cure) from None
        except RecursionError:
            raise CorpusError("a line is nested too deeply", where=where, cure="remove it") from None
        yield Found(f"{file.name}, line {number}", reader.text(record, where), record)


def read_json(stream: BinaryIO, file: Path, reader: FieldReader) -> abc.Iterator[Found]:
    """The objects of a list, or those that stand one behind the other; never the whole file at once."""
    for number, record in enumerate(_json_values(_chunks(stream, file), file)):
        name = f"record {number}"
        yield Found(f"{file.name}, {name}", reader.text(record, f"{file}, {name}"), record)


def read_csv(stream: BinaryIO, file: Path, reader: FieldReader, delimiter: str = ",") -> abc.Iterator[Found]:
    """Rows below a line of names; quoted cells may hold delimiters, quotes (doubled) and line breaks."""
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # a cell may be a book
    held = [0]
    """Characters of the row so far, which may be many lines."""
    rows = csv.reader(_row_lines(_chunks(stream, file), held, file), delimiter=delimiter, strict=True)
    names: list[str] | None = None
    try:
        for cells in rows:
            held[0] = 0
            if not cells:
                continue
            where = f"{file}, line {rows.line_num}"
            if names is None:
                names = [cell.strip() for cell in cells]
                if names.count(reader.field) != 1:
                    if reader.field in names:
                        what = f"{names.count(reader.field)} columns are named {reader.field}"
                        raise CorpusError(what, where=where, cure="rename all but one")
                    raise reader.no_text(where, names)
                column = names.index(reader.field)
                if lacking := [name for name in reader.columns if names.count(name) != 1]:
                    raise reader.no_column(lacking[0], where, [name for name in names if names.count(name) == 1])
            elif len(cells) != len(names):
                cure = "quote cells that hold a delimiter or a line break"
                raise CorpusError(
                    f"a row has {len(cells)} cells where {len(names)} are expected", where=where, cure=cure
                )
            else:
                record = dict(zip(names, cells)) if reader.columns else None
                yield Found(f"{file.name}, line {rows.line_num}", cells[column], record)
    except csv.Error as error:
        where, cure = f"{file}, line {rows.line_num}", "double the quotes inside quoted cells, and close the last one"
        if "new-line character" in str(error):
            raise CorpusError("a line ends in CR alone", where=where, cure="end lines with LF or CRLF") from None
        raise CorpusError(f"not valid CSV ({error})", where=where, cure=cure) from None


read_tsv = partial(read_csv, delimiter="\t")


def _numbered(stream: BinaryIO, file: Path) -> abc.Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, without the byte-order mark of the first."""
    offset = number = 0
    while line := stream.readline(corpus_records.MOST_BYTES + 1):
        number += 1
        if len(line) > corpus_records.MOST_BYTES:
            raise too_long("a line", f"{file}, line {number}")
        plain = _without_bom(line) if number == 1 else line
        yield number, _decoded(plain, file, offset + len(line) - len(plain))
        offset += len(line)


def _without_bom(data: bytes) -> bytes:
    return data.removeprefix(codecs.BOM_UTF8)


def _decoded(data: bytes, file: Path, offset: int = 0) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise _not_utf8(file, offset + error.start) from None


def check_encoding(start: bytes, file: Path) -> None:
    """Refuse a file whose first bytes show that it is UTF-16 or UTF-32, with a byte-order mark or, by its zeros, without.

    Raises:
        CorpusError: with the command that converts it.
    """
    name = next((name for mark, name in _MARKS.items() if start.startswith(mark)), None)
    if name is None and len(start) > 2:
        # Of text in Latin letters, UTF-16 makes a zero of every other byte, which is valid UTF-8.
        little, big = (start[place::2].count(0) / len(start[place::2]) for place in (1, 0))
        name = "UTF-16LE" if little > 0.5 > big else "UTF-16BE" if big > 0.5 > little else None
    if name is not None:
        cure = f"convert it: iconv -f {name} -t UTF-8"
        raise CorpusError("the file is not UTF-8", where=f"{file}, byte 0", cure=cure)


_MARKS = {
    codecs.BOM_UTF32_LE: "UTF-32",
    codecs.BOM_UTF32_BE: "UTF-32",
    codecs.BOM_UTF16_LE: "UTF-16",
    codecs.BOM_UTF16_BE: "UTF-16",
}
"""Encodings by their byte-order marks; that of UTF-32 begins with that of UTF-16."""


def _not_utf8(file: Path, at: int) -> CorpusError:
    return CorpusError("the file is not UTF-8", where=f"{file}, byte {at}", cure="convert it to UTF-8")


def _chunks(stream: BinaryIO, file: Path) -> abc.Iterator[str]:
    """The text of a stream in pieces, without its byte-order mark."""
    decoder = codecs.getincrementaldecoder("utf-8")()
    offset = 0
    while True:
        data = stream.read(CHUNK_BYTES)
        pending = decoder.getstate()[0]
        try:
            text = decoder.decode(data, final=not data)
        except UnicodeDecodeError as error:
            at = offset - len(pending) + error.start
            raise _not_utf8(file, at) from None
        yield text.removeprefix("\ufeff") if offset == 0 else text
        offset += len(data)
        if not data:
            return


def _row_lines(chunks: abc.Iterable[str], held: list[int], file: Path) -> abc.Iterator[str]:
    """Lines with their ends, of which only ``\n`` is one; ``held`` counts the characters read for a row.

    Raises:
        CorpusError: a row is too long.
    """
    rest: list[str] = []
    for chunk in chunks:
        *whole, last = chunk.split("\n")
        for line in whole:
            held[0] += len(line) + 1
            yield "".join([*rest, line, "\n"])
            rest = []
        rest.append(last)
        held[0] += len(last)
        if held[0] > corpus_records.MOST_BYTES:
            raise too_long("a row", file, "cut its text into shorter documents, or close the quotes of its last cell")
    if last := "".join(rest):
        yield last


_SPACE = re.compile(r"\s*")


def _json_values(chunks: abc.Iterator[str], file: Path) -> abc.Iterator[Any]:
    """The items of a JSON list, or JSON values one behind the other, as they are read."""
    decoder, buffer, at, line, in_list, between = json.JSONDecoder(), "", 0, 1, False, True
    ended = False
    while True:
        start = _SPACE.match(buffer, at).end()  # type: ignore[union-attr]  # it matches nothing too
        line += buffer.count("\n", at, start)
        at = start
        if at == len(buffer):
            if ended:
                if in_list:
                    raise _not_json("the list is not closed", file, line)
                return
            (buffer, ended), at = _more(chunks, ""), 0
            continue
        if not in_list and buffer[at] == "[" and between:
            in_list, between, at = True, True, at + 1
        elif in_list and buffer[at] == "]":
            in_list, between, at = False, True, at + 1
        elif in_list and not between:
            if buffer[at] != ",":
                raise _not_json("',' is missing between items", file, line)
            between, at = True, at + 1
        else:
            try:
                value, end = decoder.raw_decode(buffer, at)
                if end == len(buffer) and not ended:  # a number may go on
                    (buffer, ended), at = _more(chunks, buffer[at:]), 0
                    continue
            except RecursionError:
                raise _not_json("nested too deeply", file, line) from None
            except ValueError as error:
                if len(buffer) - at > corpus_records.MOST_BYTES and _may_go_on(error, len(buffer)):
                    raise too_long("a record", f"{file}, line {line}") from None
                if not ended and _may_go_on(error, len(buffer)):
                    (buffer, ended), at = _more(chunks, buffer[at:]), 0
                    continue
                reason, place = getattr(error, "msg", str(error)), getattr(error, "pos", at)
                raise _not_json(reason, file, line + buffer.count("\n", at, place)) from None
            line += buffer.count("\n", at, end)
            at, between = end, not in_list
            yield value


def _may_go_on(error: ValueError, length: int) -> bool:
    """Whether more text could mend what could not be read: it broke off at the end, or within a string."""
    reason, at = getattr(error, "msg", ""), getattr(error, "pos", length)
    return reason.startswith("Unterminated string") or at > length - 16


def _more(chunks: abc.Iterator[str], buffer: str) -> tuple[str, bool]:
    """A buffer about twice as long, so that a long value is tried a few times only; and whether that is all."""
    pieces, wanted = [buffer], max(1, len(buffer))
    for chunk in chunks:
        pieces.append(chunk)
        wanted -= len(chunk)
        if wanted <= 0:
            return "".join(pieces), False
    return "".join(pieces), True


def _not_json(reason: str, file: Path, line: int) -> CorpusError:
    cure = "fix it; a list of objects, or one object a line, is read"
    return CorpusError(f"the file is not valid JSON ({reason})", where=f"{file}, line {line}", cure=cure)
