"""Conversations in records: messages with role and content, or with from and value as ShareGPT has them; as text alone."""

from collections import abc
from typing import Any

from ato.errors import CorpusError

Messages = list[dict[str, Any]]
KINDS = (("role", "content"), ("from", "value"))
"""Fields of a message: who speaks, and what is said."""
ROLES = {
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "chatgpt": "assistant",
    "assistant": "assistant",
    "model": "assistant",
    "system": "system",
    "tool": "tool",
}
"""What ``from`` says, as the role that chat templates know."""
TEXT_PARTS = ("text", "input_text", "output_text")
"""Types of the parts of a message that are text."""


def has_message_fields(names: abc.Collection[str]) -> bool:
    """Whether a record with these fields is a message."""
    return any(set(kind) <= set(names) for kind in KINDS)


def is_conversation(value: Any) -> bool:
    """Whether a value is a list of messages, all of one kind."""
    return isinstance(value, list) and bool(value) and _kind(value) is not None


def plain_messages(conversation: Messages, where: str) -> Messages:
    """The messages of a conversation with ``role`` and, as one text, ``content``.

    Args:
        conversation: of which ``is_conversation`` holds.
        where: what a message names.

    Raises:
        CorpusError: a speaker that is not known, or a part of a message that is no text.
    """
    kind = _kind(conversation)
    assert kind is not None
    if kind == KINDS[0]:
        return [message | {"content": _text(message["content"], where)} for message in conversation]
    return [{"role": _role(one["from"], where), "content": _text(one["value"], where)} for one in conversation]


def _kind(messages: list[Any]) -> tuple[str, str] | None:
    for kind in KINDS:
        if all(isinstance(message, dict) and set(kind) <= message.keys() for message in messages):
            return kind
    return None


def _role(speaker: Any, where: str) -> str:
    if isinstance(speaker, str) and speaker in ROLES:
        return ROLES[speaker]
    known = ", ".join(ROLES)
    raise CorpusError(f"a message is from {str(speaker)[:40]!r}", where=where, cure=f"rename it to one of {known}")


def _text(content: Any, where: str) -> Any:
    """The text of a message; parts of text stand below each other."""
    if not isinstance(content, list):
        return content
    return "\n".join(_part(part, where) for part in content)


def _part(part: Any, where: str) -> str:
    if isinstance(part, str):
        return part
    kind = part.get("type", "text") if isinstance(part, dict) else type(part).__name__
    text = part.get("text") if isinstance(part, dict) else None
    if kind in TEXT_PARTS and isinstance(text, str):
        return text
    raise CorpusError(
        f"a message holds a part of type {str(kind)[:40]!r}, which is no text",
        where=where,
        cure="remove such parts, or the conversation",
    )
