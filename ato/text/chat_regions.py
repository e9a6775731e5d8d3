"""Which tokens of a conversation are whose: those of a message have its speaker's role, those of the chat template have none.

A template may trim what is said and puts its own words around it, which may also occur in what is said. So the conversation
is written twice, the second time with marks in place of what is said: between the marks stand the template's own words.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ato.errors import AtoError

TEMPLATE = "template"
"""Region of the tokens that the chat template writes."""
Span = tuple[int, int, str]
"""First character, the one behind the last, and the role."""
_FIRST, _LAST = "\ue000", "\ue001"
"""Characters that no text has: Unicode leaves them to private use."""
_MARK = re.compile(f"{_FIRST}(\\d+){_LAST}")


def message_spans(
    render: Callable[[list[dict[str, Any]]], str], messages: Sequence[Mapping[str, Any]], text: str
) -> list[Span] | None:
    """Where each message's content stands in a conversation's text; None where the template's words depend on it.

    Args:
        render: writes a conversation as text.
        messages: each with role and content.
        text: the conversation, as ``render`` wrote it.
    """
    contents = [one.get("content") for one in messages]
    marked = [
        {**one, "content": f"{_FIRST}{number}{_LAST}"} if isinstance(content, str) and content.strip() else dict(one)
        for number, (one, content) in enumerate(zip(messages, contents, strict=True))
    ]
    try:
        before, *rest = _MARK.split(render(marked))
    except AtoError:  # the template refuses the marks
        return None
    if not text.startswith(before):
        return None
    at, spans = len(before), list[Span]()
    for number, after in zip(map(int, rest[::2]), rest[1::2], strict=True):
        said = str(contents[number])
        variants = (said, said.strip(), said.rstrip(), said.lstrip())
        own = next((one for one in variants if text.startswith(one + after, at)), None)
        if own is None:
            return None
        spans.append((at, at + len(own), str(messages[number]["role"])))
        at += len(own) + len(after)
    return spans if at == len(text) else None


def token_regions(offsets: Sequence[tuple[int, int]], spans: Sequence[Span], values: Sequence[str]) -> np.ndarray:
    """[n] int64 region of each token, an index into ``values``: that of its last character; -1 of tokens without characters.

    Args:
        offsets: first character of each token, and the one behind its last.
        spans: of messages.
        values: names of the regions, all roles and ``TEMPLATE`` among them.
    """
    ends = np.array([end if end > start else 0 for start, end in offsets], dtype=np.int64)
    of_character = np.full(int(ends.max(initial=0)) + 1, values.index(TEMPLATE), dtype=np.int64)
    for start, end, role in spans:
        of_character[start:end] = values.index(role)
    return np.where(ends > 0, of_character[ends - 1], -1)
