"""Text: documents, splits by document, and sequences of tokens."""

from ato.text.documents import Document
from ato.text.sequences import TokenSequence

__all__ = ["Document", "TokenSequence"]
