"""What a corpus says about its documents: decade and president of speeches, topics, folders, fields of records."""

import csv
import math
import os
import re
from collections import abc
from dataclasses import dataclass, field
from datetime import date
from functools import lru_cache
from pathlib import Path
from typing import Any

from ato.errors import CorpusError
from ato.io import embedded
from warehouse.datasets.corpora import read_records
from warehouse.datasets.corpus_files import Corpus, corpus_files, corpus_label, is_hub
from warehouse.datasets.corpus_records import FieldReader, value_at
from warehouse.datasets.encyclopedia import TOPIC, is_encyclopedia

MISSING, SEVERAL = "missing", "several"
"""Why a document has no value: no record of it has one; its records, or a list in one, have different ones."""
LONGEST_VALUE = 200
"""Characters of a value: longer ones are text, not the name of a stratum."""
FOLDER, DECADE, PRESIDENT = "folder", "decade", "president"
_BY_DECADE = ":decade"
_YEAR = re.compile(r"\s*(\d{4})(?!\d)")


@dataclass(frozen=True)
class NamedStratum:
    """A stratum that settings name: the values of a field, or their decades."""

    name: str
    """As settings name it, ``year`` or ``year:decade``."""

    @property
    def column(self) -> str:
        """Name of the field, or path to it."""
        return self.name.removesuffix(_BY_DECADE) or self.name

    def values(self, record: Any, where: str) -> set[str]:
        """The different values of a record: none where the field is empty, several where it is a list of such.

        Raises:
            KeyError: it has no such field.
            CorpusError: what the field holds cannot be the value of a stratum.
        """
        found = value_at(record, self.column)
        items = found if isinstance(found, list) else [found]
        read = _decade if self.column != self.name else _plain
        return {value for item in items if (value := read(item, f"{where}, field {self.column}")) is not None}


@dataclass
class DocumentStrata:
    """The strata of the documents that were asked for."""

    names: tuple[str, ...]
    """The corpus's strata; empty where it says nothing about its documents."""
    values: dict[str, dict[str, set[str]]] = field(default_factory=dict)
    """Document id -> stratum -> its different values, over all records with that text."""

    def value(self, document_id: str, stratum: str) -> tuple[str | None, str | None]:
        """The value of a document, or None with the reason (``MISSING``, ``SEVERAL``)."""
        values = self.values[document_id].get(stratum, set())
        if len(values) == 1:
            return min(values), None
        return None, SEVERAL if values else MISSING


def read_strata(
    corpus: Corpus, reader: FieldReader, columns: abc.Sequence[str], wanted: abc.Collection[str]
) -> DocumentStrata:
    """Read a corpus once, for the strata of some documents.

    Speeches of ``sotu`` have decade and president, articles of ``encyclopedia`` a topic; other files have the folder that
    they are in: the first below the folder that holds them all. Records have the fields that are named.
    A dataset of the hub is read until all wanted documents were seen, local corpora to their end.

    Args:
        corpus: as for ``read_documents``.
        reader: how its texts are found.
        columns: fields of its records, see ``NamedStratum``; a stratum that has such a name by itself gives way.
        wanted: ids of documents.

    Raises:
        CorpusError: no record has one of the fields, what one holds cannot be the value of a stratum, or the corpus cannot be read.
        SettingsError, UnavailableError, DamagedFileError: as ``read_documents``.
    """
    named = [NamedStratum(name) for name in dict.fromkeys(columns)]
    own = _OfFiles(corpus, {stratum.name for stratum in named})
    found = DocumentStrata((*own.names, *(stratum.name for stratum in named)))
    unseen, fields = {stratum.column for stratum in named}, dict[str, None]()
    reader = FieldReader(reader.field, reader.chat, reader.lines, tuple(sorted(unseen)))
    for document, file, record in read_records(corpus, reader):
        key = document.document_id
        if unseen and isinstance(record, dict):
            fields.update(dict.fromkeys(map(str, record)))
        unseen -= {column for column in unseen if _has(record, column)}
        if key not in wanted:
            continue
        held = found.values.setdefault(key, {})
        of_record = {one.name: one.values(record, document.name) for one in named if _has(record, one.column)}
        for name, values in (own.values(file, record) | of_record).items():
            held.setdefault(name, set()).update(values)
        if is_hub(corpus) and len(found.values) == len(wanted):
            break
    if unseen:
        raise reader.no_column(min(unseen), corpus_label(corpus), fields)
    return found


def _has(record: Any, column: str) -> bool:
    try:
        value_at(record, column)
    except KeyError:
        return False
    return record is not None


class _OfFiles:
    """What the files of a corpus say by themselves, but for strata whose names are ``taken``."""

    def __init__(self, corpus: Corpus, taken: abc.Collection[str]):
        files = () if is_hub(corpus) else corpus_files(corpus).read
        speeches = embedded.CORPUS_NAME in ((corpus,) if isinstance(corpus, str) else corpus)
        self._speeches = {os.path.realpath(path): path.stem for path in embedded.corpus_files()} if speeches else {}
        plain = [file for file in files if not self._speech(file) and not is_encyclopedia(file)]
        self._folders = _folders(plain)
        kinds = {
            DECADE: bool(self._speeches),
            PRESIDENT: bool(self._speeches),
            TOPIC: any(map(is_encyclopedia, files)),
            FOLDER: bool(self._folders),
        }
        self.names = tuple(name for name, there in kinds.items() if there and name not in taken)

    def values(self, file: Path | None, record: Any) -> dict[str, set[str]]:
        """Stratum -> values of a document of a file."""
        found: dict[str, str] = {}
        if file is None:
            return {}
        if speech := self._speech(file):
            found = _speeches()[speech]
        elif is_encyclopedia(file):
            found = {TOPIC: str(record[TOPIC])}
        elif file in self._folders:
            found = {FOLDER: self._folders[file]}
        return {name: {value} for name, value in found.items() if name in self.names}

    def _speech(self, file: Path) -> str | None:
        return self._speeches.get(os.path.realpath(file)) if self._speeches else None


def _folders(files: abc.Sequence[Path]) -> dict[Path, str]:
    """The files that lie in a folder below the one that holds them all -> the name of that folder."""
    if not files:
        return {}
    parents = [os.path.abspath(file.parent) for file in files]
    root = os.path.commonpath(parents)
    below = {file: Path(parent).relative_to(root).parts for file, parent in zip(files, parents)}
    return {file: parts[0] for file, parts in below.items() if parts}


@lru_cache(maxsize=1)
def _speeches() -> dict[str, dict[str, str]]:
    """Name of a speech's file -> decade and president, by the list that the package ships."""
    with embedded.fact_file("speeches").open(encoding="utf-8", newline="") as stream:
        return {
            row["fileid"]: {DECADE: _decade_of(int(row["year"])), PRESIDENT: row["president_full"]}
            for row in csv.DictReader(stream)
        }


def _plain(value: Any, where: str) -> str | None:
    """A value as text; None where it is empty."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # a column of whole numbers with gaps is read as float
    if isinstance(value, dict | list):
        raise CorpusError(
            "a stratum is no list within a list and no record", where=where, cure="name a field within it"
        )
    try:
        text = value.decode() if isinstance(value, bytes) else str(value)
        text.encode()  # JSON may hold half of a surrogate pair
    except UnicodeError:
        raise CorpusError("a value of a stratum is not valid Unicode", where=where, cure="mend it") from None
    text = " ".join(text.lower().split() if isinstance(value, bool) else text.split())
    if len(text) > LONGEST_VALUE:
        what = f"a value of {len(text):,} characters names no stratum"
        raise CorpusError(what, where=where, cure="name a field with few different values in collect.strata")
    return text or None


def _decade(value: Any, where: str) -> str | None:
    """The decade of a year, of a date, or of text that begins with a year of four digits; None where there is none."""
    text = _plain(value.isoformat() if isinstance(value, date) else value, where)
    if text is None:
        return None
    year = value if isinstance(value, int) and not isinstance(value, bool) else None
    if year is None and (begins := _YEAR.match(text)):
        year = int(begins[1])
    if year is None or not -9999 <= year <= 9999:
        cure = "take :decade from its name in collect.strata, or mend the value"
        raise CorpusError(f"{text[:40]!r} is no year", where=where, cure=cure)
    return _decade_of(year)


def _decade_of(year: int) -> str:
    return f"{year // 10 * 10}s"
