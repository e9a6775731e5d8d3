"""What token ids say, read from a model's files in a tenth of a second: no weights, and not transformers.

Pages that show tokens need no more; ``load_tokenizer`` takes seconds, most of them for imports and for a GGUF file's header.
"""

import struct
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Protocol

from ato.errors import DamagedFileError, UnavailableError
from ato.models.files import ModelFiles
from ato.text.token_texts import name_bytes

_NUMBERS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Type of a value in a GGUF header -> its format in ``struct``; source: docs/gguf.md of ggml-org/ggml."""
_STRING, _ARRAY = 8, 9
_TOKENS, _TYPES, _MODEL = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type", "tokenizer.ggml.model"
_CONTROL, _OWN = 3, 4
"""Types of tokens: those that stand for no text, and those that were added as they are written."""


class Vocabulary(Protocol):
    """Decodes single tokens as a tokenizer of transformers does: what ``TokenTexts`` needs."""

    special_ids: frozenset[int]
    """Ids of tokens that stand for no text."""

    def decode(self, ids: Sequence[int], clean_up_tokenization_spaces: bool = False) -> str:
        """Their text; bytes that are no whole character are U+FFFD."""
        ...

    def convert_ids_to_tokens(self, token: int) -> str | None:
        """The name of a token; None if there is no such token."""
        ...


def read_vocabulary(files: ModelFiles) -> Vocabulary:
    """The vocabulary of a model that is on this machine.

    Raises:
        UnavailableError: its tokenizer is neither in a GGUF file nor a ``tokenizer.json``.
        DamagedFileError: the file cannot be read.
    """
    try:
        if files.gguf is not None:
            return _GGUFVocabulary(_header(files.folder / files.gguf), files.name)
        if (path := files.folder / "tokenizer.json").is_file():
            return _JSONVocabulary(path)
    except (struct.error, KeyError, ValueError, UnicodeDecodeError) as error:
        raise DamagedFileError(
            f"the vocabulary cannot be read ({type(error).__name__})",
            where=files.name,
            cure="put back the model's files",
        ) from None
    raise UnavailableError(
        "the model has no tokenizer.json", where=files.name, cure="save its fast tokenizer beside it"
    )


class _JSONVocabulary:
    """Of a fast tokenizer's file."""

    def __init__(self, path: Path):
        from tokenizers import Tokenizer

        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # tokenizers raises a bare Exception
            raise ValueError(str(error)) from error
        added = self._tokenizer.get_added_tokens_decoder()
        self.special_ids = frozenset(number for number, token in added.items() if token.special)

    def decode(self, ids: Sequence[int], clean_up_tokenization_spaces: bool = False) -> str:
        text: str = self._tokenizer.decode(list(ids), skip_special_tokens=False)
        return text

    def convert_ids_to_tokens(self, token: int) -> str | None:
        name: str | None = self._tokenizer.id_to_token(token)
        return name


class _GGUFVocabulary:
    """Of the header of a GGUF file: byte-level BPE as GPT-2's, or pieces of SentencePiece."""

    def __init__(self, header: Mapping[str, Any], name: str):
        if header[_MODEL] not in ("gpt2", "llama"):
            cure = "use a model with a tokenizer.json"
            raise UnavailableError(f"tokens of the kind {header[_MODEL]!r} are not read", where=name, cure=cure)
        self._names: list[str] = header[_TOKENS]
        types = header.get(_TYPES) or [1] * len(self._names)
        self.special_ids = frozenset(number for number, kind in enumerate(types) if kind == _CONTROL)
        self._as_written = {number for number, kind in enumerate(types) if kind in (_CONTROL, _OWN)}
        self._pieces = header[_MODEL] == "llama"

    def decode(self, ids: Sequence[int], clean_up_tokenization_spaces: bool = False) -> str:
        return b"".join(map(self._bytes, ids)).decode("utf-8", errors="replace")

    def convert_ids_to_tokens(self, token: int) -> str | None:
        return self._names[token] if 0 <= token < len(self._names) else None

    def _bytes(self, token: int) -> bytes:
        name = self._names[token]
        if token in self._as_written:
            return name.encode()
        if self._pieces:
            own = name_bytes(name) if name.startswith("<0x") else None
            return name.replace("\u2581", " ").encode() if own is None else own
        own = name_bytes(name)
        return name.encode() if own is None else own


def _header(path: Path) -> dict[str, Any]:
    """What a GGUF file says of its tokenizer."""
    wanted = {_TOKENS, _TYPES, _MODEL}
    with path.open("rb") as file:
        magic, version, _, n_entries = struct.unpack("<4sIQQ", file.read(24))
        if magic != b"GGUF" or version < 2:
            raise ValueError("not a GGUF file of version 2 or later")
        found = {}
        for _ in range(n_entries):
            key = _string(file)
            value = _value(file, *struct.unpack("<I", file.read(4)))
            if key in wanted:
                found[key] = value
            if wanted == found.keys():
                break
    return found


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == _STRING:
        return _string(file)
    if kind == _ARRAY:
        of, n = struct.unpack("<IQ", file.read(12))
        if of in _NUMBERS:
            form = f"<{n}{_NUMBERS[of]}"
            return list(struct.unpack(form, file.read(struct.calcsize(form))))
        return [_value(file, of) for _ in range(n)]
    form = f"<{_NUMBERS[kind]}"
    return struct.unpack(form, file.read(struct.calcsize(form)))[0]


def _string(file: BinaryIO) -> str:
    (n,) = struct.unpack("<Q", file.read(8))
    raw = file.read(n)
    if len(raw) < n:
        raise ValueError("the file ends within a name")
    return raw.decode("utf-8")
