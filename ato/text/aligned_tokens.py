"""Texts of tokens brought in line with the text that they were decoded to, so that joined they are it."""

import re
from collections.abc import Sequence

_BYTES = re.compile(r"(<0x[0-9A-F]{2}>)+")
_REPLACEMENT = "\ufffd"


def aligned(tokens: Sequence[str], text: str) -> list[str]:
    """As many texts as tokens, joined ``text``, as far as the tokens are found in it.

    A tokenizer may lose spaces when it decodes a token alone: those before a token are given back to it. Bytes of a
    character that a sequence cuts through are U+FFFD in its text; the first token of such bytes stands for all of them.

    Args:
        tokens: texts of consecutive tokens, as ``whole_tokens`` gives them.
        text: of all of them, decoded together.
    """
    found: list[str] = []
    at = 0
    for token in tokens:
        if _BYTES.fullmatch(token) and text[at : at + 1] in ("", _REPLACEMENT):
            end = at
            while text[end : end + 1] == _REPLACEMENT:
                end += 1
            if end > at or (found and found[-1].endswith(_REPLACEMENT)):
                found.append(text[at:end])
                at = end
                continue
        place = text.find(token, at)
        if place < 0 or text[at:place].strip():
            found.append(token)  # another text: it is shown as it is
            continue
        found.append(text[at : place + len(token)] if token else "")
        at = place + len(token) if token else at
    if found and not text[at:].strip():
        found[-1] += text[at:]
    return found
