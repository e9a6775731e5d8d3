"""Documents of a corpus, named by the hash of their bytes."""

import hashlib
from dataclasses import dataclass

from ato.errors import CorpusError


@dataclass(frozen=True)
class Document:
    """One document of a corpus."""

    document_id: str
    """SHA-256 of the text's UTF-8 bytes, first 16 hex digits."""
    name: str
    """Where it came from: file, or file and line."""
    text: str


def document_id(text: str) -> str:
    """SHA-256 of the text's UTF-8 bytes, first 16 hex digits.

    Raises:
        CorpusError: the text holds half of a surrogate pair, which no UTF-8 text does.
    """
    try:
        return hashlib.sha256(text.encode("utf-8")).hexdigest()[:16]
    except UnicodeEncodeError as error:
        raise CorpusError(
            "a text is not valid Unicode", where=f"character {error.start}", cure="repair or remove the document"
        ) from None
