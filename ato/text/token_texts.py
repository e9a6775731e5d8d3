"""Tokens as text that tells them apart: bytes of a character that several tokens share are shown as ``<0xE6>``.

A tokenizer that works on bytes splits rare characters; decoded alone, each part of one would be U+FFFD, and hundreds of
different tokens would look the same. ``whole_characters`` puts the parts of a window together again.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np

_REPLACEMENT = "\ufffd"
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_LONGEST = 4
"""Bytes of the longest character in UTF-8, and so tokens that can share one."""


class TokenTexts:
    """The text of each token of a tokenizer, decoded once.

    Args:
        tokenizer: a transformers tokenizer.
    """

    def __init__(self, tokenizer: Any):
        self._text = lru_cache(maxsize=None)(lambda token: token_text(tokenizer, token))

    def of(self, token_ids: np.ndarray) -> list[str]:
        """The text of each token."""
        return [self._text(token) for token in np.asarray(token_ids).tolist()]


def token_text(tokenizer: Any, token: int) -> str:
    """The text of one token; bytes that are no whole character in it are shown as ``<0xE6>``.

    Where the tokenizer does not say which bytes a token has, its own name of the token is shown instead.
    """
    text: str = tokenizer.decode([token], clean_up_tokenization_spaces=False)
    if _REPLACEMENT not in text:
        return text
    name = tokenizer.convert_ids_to_tokens(token)
    if not isinstance(name, str) or name == text:
        return text
    known = name_bytes(name)
    return name if known is None else _shown(known)


def whole_characters(tokens: Sequence[str]) -> list[tuple[str, range]]:
    """A window's text in pieces, each with the tokens that it is of: several only where they share a character.

    Args:
        tokens: texts of consecutive tokens, as ``token_text`` gives them.
    """
    pieces: list[tuple[str, range]] = []
    at = 0
    while at < len(tokens):
        text, stop = tokens[at], at + 1
        if _BYTE.search(text):
            # As far as the bytes make up characters; without such an end the token stays what it is.
            ends = range(stop, min(at + _LONGEST, len(tokens)) + 1)
            joined = ((whole, end) for end in ends if (whole := _joined(tokens[at:end])) is not None)
            text, stop = next(joined, (text, stop))
        pieces.append((text, range(at, stop)))
        at = stop
    return pieces


def whole_tokens(tokens: Sequence[str]) -> tuple[str, ...]:
    """As many texts as tokens, in which a character that several share stands at the first and the others are empty.

    Windows of a sequence are slices of those of the whole: tokens that continue a character from before are empty.

    >>> whole_tokens(["a", "<0xC3>", "<0xA9>"])
    ('a', 'é', '')
    """
    return tuple(text for piece, own in whole_characters(tokens) for text in (piece, *[""] * (len(own) - 1)))


def _joined(tokens: Sequence[str]) -> str | None:
    """Texts of tokens as one, whose bytes must make up characters; None if they do not."""
    parts = [part for token in tokens for part in re.split(r"(<0x[0-9A-F]{2}>)", token)]
    raw = b"".join(bytes.fromhex(byte[1]) if (byte := _BYTE.fullmatch(part)) else part.encode() for part in parts)
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return None


def name_bytes(name: str) -> bytes | None:
    """Bytes of a token by its name in the vocabulary: ``<0xE6>``, or GPT-2's letters for bytes; None if it is neither."""
    if byte := _BYTE.fullmatch(name):
        return bytes.fromhex(byte[1])
    letters = _letters()
    return bytes(letters[c] for c in name) if all(c in letters for c in name) else None


@lru_cache(maxsize=1)
def _letters() -> dict[str, int]:
    """Letter -> byte of byte-level BPE: printable bytes stand for themselves, the others for 256, 257 ... in order.

    Source: ``bytes_to_unicode`` of openai/gpt-2, encoder.py.
    """
    own = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in own]
    return {chr(byte): byte for byte in own} | {chr(256 + i): byte for i, byte in enumerate(others)}


def _shown(raw: bytes) -> str:
    """Bytes as text, those that are no character as ``<0xE6>``."""
    text = raw.decode("utf-8", errors="surrogateescape")
    return "".join(f"<0x{ord(c) - 0xDC00:02X}>" if 0xDC80 <= ord(c) <= 0xDCFF else c for c in text)
