"""The text of one record: a field by name or path, a list of texts, a conversation; and which fields a record has."""

from collections import abc
from dataclasses import dataclass
from typing import Any, NamedTuple

from ato.errors import CorpusError
from warehouse.datasets.corpus_conversations import Messages, is_conversation, plain_messages

MOST_BYTES = 32 * 2**20
"""Bytes or characters of one document, line or record: more is refused before it is held, however well it was compressed."""
MOST_FIELDS = 12
"""Fields that a message names."""
LONGEST_NAME = 40
"""Characters of a field's name in a message."""
_KINDS = {int: "a number", float: "a number", bool: "true or false", dict: "a record", list: "a list"}
"""What a field holds that is no text, by type."""


class Found(NamedTuple):
    """A document as the reader of a file finds it."""

    name: str
    """Where it stands, for messages."""
    text: str | None
    """None for NULL."""
    record: Any = None
    """The record that it is the text of, at least the text's field and ``FieldReader.columns``; None where files have no records."""


@dataclass(frozen=True)
class FieldReader:
    """How a record's text is found.

    Args:
        field: name of the field, or a path to it: ``meta.body``, ``turns.0.text``. A list on the way gives the texts of all
            its items.
        chat: writes a conversation as the model's chat template has it; None where there is no model.
        lines: whether each line of a ``.txt`` file is a document.
        columns: fields or paths that are read beside the text. A file with columns that lacks one is refused.
    """

    field: str = "text"
    chat: abc.Callable[[Messages], str] | None = None
    lines: bool = False
    columns: tuple[str, ...] = ()

    def text(self, record: Any, where: str) -> str | None:
        """Text of a record (of JSON, Parquet or Arrow); None where it is NULL.

        A list of texts is one document, its texts parted by an empty line. A record without fields, which is a text or a
        conversation itself, is its own text.

        Raises:
            CorpusError: there is no text in the field (the message names the fields that have some), or too long a one.
        """
        text = self._text(record, where)
        if text is not None and len(text) > MOST_BYTES:
            raise too_long("a text", where)
        return text

    def _text(self, record: Any, where: str) -> str | None:
        try:
            found = record if isinstance(record, str) or is_conversation(record) else value_at(record, self.field)
        except KeyError:
            raise self.no_text(where, text_fields(record)) from None
        if found is None or isinstance(found, str):
            return found
        if isinstance(found, bytes):
            try:
                return found.decode("utf-8")
            except UnicodeDecodeError as error:
                cure = "convert it to UTF-8"
                raise CorpusError("a text is not UTF-8", where=f"{where}, byte {error.start}", cure=cure) from None
        if is_conversation(found):
            return self._conversation(found, where)
        if isinstance(found, list) and all(text is None or isinstance(text, str) for text in found):
            return "\n\n".join(text for text in found if text) if any(found) else None
        raise self.no_text(where, text_fields(record), _KINDS.get(type(found)))

    def no_text(self, where: object, fields: abc.Sequence[str], holds: str | None = None) -> CorpusError:
        """The error of a record without such a field, or with one that ``holds`` something else."""
        listed = ", ".join(name[:LONGEST_NAME] for name in fields[:MOST_FIELDS])
        more = f" and {len(fields) - MOST_FIELDS} more" if len(fields) > MOST_FIELDS else ""
        cure = f"set collect.text_field to one of {listed}{more}" if fields else "add a text field to every record"
        what = f"no text in field {self.field}" + ("" if holds is None else f", which holds {holds}")
        return CorpusError(what, where=where, cure=cure)

    def no_column(self, column: str, where: object, fields: abc.Iterable[str]) -> CorpusError:
        """The error of a file, or of a corpus, whose records have no field of that name."""
        names = list(fields)
        more = f" and {len(names) - MOST_FIELDS} more" if len(names) > MOST_FIELDS else ""
        listed = ", ".join(name[:LONGEST_NAME] for name in names[:MOST_FIELDS]) + more
        cure = f"set collect.strata to some of {listed}" if names else "leave it out of collect.strata"
        return CorpusError(f"no field {column[:LONGEST_NAME]}, which collect.strata names", where=where, cure=cure)

    def _conversation(self, messages: Messages, where: str) -> str:
        if self.chat is None:
            cure = "name a field of plain text in collect.text_field"
            raise CorpusError(f"field {self.field} holds conversations, and there is no model", where=where, cure=cure)
        try:
            return self.chat(plain_messages(messages, where))
        except CorpusError as error:
            raise CorpusError(error.what, where=f"{where}, collect.text_field={self.field}", cure=error.cure) from None


def value_at(record: Any, path: str) -> Any:
    """The value at a path of names and numbers joined by dots; a name that holds dots itself comes first.

    Raises:
        KeyError: there is no such place.
    """
    if record is None:
        return None
    if isinstance(record, dict):
        if path in record:
            return record[path]
        for name, rest in splits(path):
            if name in record:
                try:
                    return value_at(record[name], rest)
                except KeyError:
                    continue  # a longer name may hold it
        raise KeyError(path)
    if isinstance(record, list):
        number, _, rest = path.partition(".")
        if number.isdigit():
            if int(number) >= len(record):
                return None
            return value_at(record[int(number)], rest) if rest else record[int(number)]
        return [value_at(item, path) for item in record]
    raise KeyError(path)


def splits(path: str) -> abc.Iterator[tuple[str, str]]:
    """All ways to part a path into a name and what lies within it, the shortest name first."""
    parts = path.split(".")
    return ((".".join(parts[:n]), ".".join(parts[n:])) for n in range(1, len(parts)))


def too_long(what: str, where: object, cure: str = "cut it into shorter documents, or remove it") -> CorpusError:
    """The error of a document, line or record that would not fit into memory; ``what`` says which."""
    return CorpusError(f"{what} is longer than {MOST_BYTES // 2**20} MiB", where=where, cure=cure)


def text_fields(record: Any, prefix: str = "") -> list[str]:
    """Paths of a record that hold text, sorted."""
    if not isinstance(record, dict):
        return []
    found: list[str] = []
    for name, value in record.items():
        texts = isinstance(value, list) and value and all(isinstance(text, str) for text in value)
        if isinstance(value, str | bytes) or texts or is_conversation(value):
            found.append(f"{prefix}{name}")
        elif isinstance(value, dict):
            found += text_fields(value, f"{prefix}{name}.")
        elif isinstance(value, list) and value and isinstance(value[0], dict):
            found += text_fields(value[0], f"{prefix}{name}.")
    return sorted(found)
